"""Draws the picture of the tutorial `examples/predict.py`: `python -m tools.first_photo`."""

import contextlib
import runpy
import tempfile
from pathlib import Path

from PIL import Image

from hmr_jax import cli


def main(output: Path = Path("docs/images/first_photo.jpg")) -> None:
    """Runs the tutorial with the shipped network, and keeps the overlay of its first person.

    Args:
        output: the image.
    """
    output, example = output.resolve(), Path("examples/predict.py").resolve()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        runpy.run_path(str(example))
        with Image.open("runs/example_predict/results/person_0_overlay.png") as overlay:
            overlay.save(output, quality=88)


if __name__ == "__main__":
    cli.run(main, "python -m tools.first_photo")
