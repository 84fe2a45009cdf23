"""Estimates the depth of pictures once, for predictions and for data sets.

`python -m data_pipelines.precompute_depth IMAGES --provider NAME:PATH --out FOLDER` writes FOLDER/NAME.npz for every
picture NAME.*, which `--depth FOLDER` of predict.py and builders read. Running it again goes on where it was ended:
pictures that have a map there are left out.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hmr_jax.depth import write_depth
from hmr_jax.depth_providers import PROVIDERS, DepthProvider, DiskDepth, depth_provider, maps_of
from hmr_jax.pictures import find_images, read_image

BATCH = 8  # pictures that a provider gets at a time


def precompute(images: Sequence[Path], provider: DepthProvider, source: str, out: Path) -> list[str]:
    """Writes the depth of every picture that has none in `out`.

    Args:
        images: Files; their names without suffix are the maps' names.
        provider: Makes the maps.
        source: Says in the files where they are from.
        out: Folder; made if need be.

    Returns:
        What went wrong, a sentence for each picture left out.

    Raises:
        ValueError: Pictures share a name, so that one map would be taken for several.
    """
    names: dict[str, Path] = {}
    for path in images:
        if path.stem in names:
            raise ValueError(f"{names[path.stem]} and {path} have the same name: their depth maps would, too.")
        names[path.stem] = path
    out.mkdir(parents=True, exist_ok=True)
    there = DiskDepth(str(out))
    wanted = [path for path in images if there.find(path.stem) is None]
    problems: list[str] = []
    with tqdm(total=len(images), initial=len(images) - len(wanted), unit="picture", disable=None) as bar:
        for start in range(0, len(wanted), BATCH):
            paths = wanted[start : start + BATCH]
            loaded: dict[Path, np.ndarray] = {}
            for path in paths:
                try:
                    loaded[path] = read_image(path)
                except ValueError as error:
                    problems.append(str(error))
            for path, depth in zip(loaded, maps_of(provider, list(loaded.values()), list(loaded)), strict=True):
                if isinstance(depth, ValueError):
                    problems.append(str(depth))
                elif depth is None:
                    problems.append(f"The provider has no depth of {path}.")
                else:
                    write_depth(out / f"{path.stem}.npz", depth, source)
            bar.update(len(paths))
    return problems


def main(arguments: list[str] | None = None) -> None:
    """The command line; ends with status 1 where pictures were left out."""
    parser = argparse.ArgumentParser("python -m data_pipelines.precompute_depth", description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", type=Path, help="pictures, or folders of pictures")
    parser.add_argument("--provider", required=True, help=f"NAME:PATH with a name of {', '.join(PROVIDERS)}")
    parser.add_argument("--out", required=True, type=Path, help="folder of the maps")
    chosen = parser.parse_args(arguments)
    try:
        images, provider = find_images(chosen.images), depth_provider(chosen.provider)
        problems = precompute(images, provider, chosen.provider, chosen.out)
    except (ValueError, FileNotFoundError, ImportError) as error:
        sys.exit(f"error: {error}")
    if problems:
        sys.exit("\n".join([*problems, f"{len(problems)} of {len(images)} pictures were left out."]))


if __name__ == "__main__":
    main()
