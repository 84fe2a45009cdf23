"""Draws a sheet of synthetic people to look at: `python tools/contact_sheet.py`."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from data_pipelines.synthetic.people import SyntheticPeople
from hmr_jax.config import AugmentConfig


def contact_sheet(images: np.ndarray, columns: int) -> np.ndarray:
    """(N, S, S, 3) images in rows of `columns`: (N / columns * S, columns * S, 3)."""
    count, height, width, channels = images.shape
    rows = images.reshape(count // columns, columns, height, width, channels).swapaxes(1, 2)
    return rows.reshape(count // columns * height, columns * width, channels)


def main() -> None:
    """Writes the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/images/synthetic_people.jpg"))
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--size", type=int, default=144)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--augment", action="store_true", help="frame them as for training")
    options = parser.parse_args()
    still = AugmentConfig(scale=0.1, rotation=0, color=0)
    augment = AugmentConfig() if options.augment else still
    people = SyntheticPeople(size=options.size, seed=options.seed, margin=1.05, augment=augment)
    images = people.batch(range(options.count))["image"]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(contact_sheet(images, options.columns)).save(options.output, quality=85)


if __name__ == "__main__":
    main()
