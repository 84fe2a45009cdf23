"""Predict bodies in pictures: `python predict.py IMAGE... [--boxes boxes.json] [--output predictions]`."""

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from hmr_jax.cli import enable_compilation_cache, one_line_errors


@dataclass
class Options:
    images: tyro.conf.Positional[tuple[Path, ...]]
    """Pictures, or folders of pictures. EXIF orientation is respected."""
    boxes: str = ""
    """JSON file {file name: [[x0, y0, x1, y1], ...]}, or x0,y0,x1,y1 for one picture; by default the whole picture."""
    checkpoint: Path | None = None
    """A run's folder, one of its checkpoints, or an exported folder; by default the built-in model."""
    output: Path = Path("predictions")
    """Folder of the results."""
    intrinsics: str = ""
    """fx,fy,cx,cy in pixels of the pictures; by default a focal length from the picture's size."""
    axes: Literal["opencv", "opengl", "blender"] = "opengl"
    """Axes of the GLB file; "opengl" (Y up) is glTF's own, which Blender's importer turns upright."""


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    with one_line_errors():
        warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
        enable_compilation_cache()
        from hmr_jax import inference, predict

        images = predict.find_images(options.images)
        boxes = predict.read_boxes(options.boxes, images)
        intrinsics = predict.parse_intrinsics(options.intrinsics)
        predictor = inference.Predictor.from_checkpoint(options.checkpoint)
        for path in predict.predict_files(predictor, images, options.output, boxes, intrinsics, options.axes):
            print(path)


if __name__ == "__main__":
    main()
