"""Estimates the depth of images once, for predictions and for data sets.

`python -m data_pipelines.precompute_depth IMAGES --provider NAME:PATH --out FOLDER` writes FOLDER/a/b.npz for every
image IMAGES/a/b.*, for `--depth FOLDER` of predict.py and `--depth-dir FOLDER` of data_pipelines.build. Images that
have a map in FOLDER are skipped, so the same command continues an interrupted run.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from tqdm import tqdm
from tyro.conf import Positional, arg

from hmr_jax import cli
from hmr_jax.depth import write_depth
from hmr_jax.depth.providers import PROVIDERS, DepthProvider, DiskDepth, depth_provider, maps_or_errors
from hmr_jax.io.images import find_images, read_image

BATCH = 8  # images that a provider gets at a time


def images_by_name(paths: Sequence[Path]) -> dict[str, Path]:
    """Images by the names of their maps.

    A folder stands for all images below it, whose names are their paths from that folder without the suffix.

    Raises:
        FileNotFoundError: a path does not exist, or a folder holds no images.
        ValueError: images share a name, so that one map would be taken for several.
    """
    found: dict[str, Path] = {}
    for path in paths:
        for image in find_images([path], recursive=True):
            name = str(image.relative_to(path if path.is_dir() else image.parent).with_suffix(""))
            if name in found:
                raise ValueError(f"{found[name]} and {image} have the same name: their depth maps would have it too.")
            found[name] = image
    return found


def precompute(images: Mapping[str, Path], provider: DepthProvider, source: str, out: Path) -> list[str]:
    """Writes the depth of every image that has none in `out`.

    Args:
        images: files by the names of their maps, without suffix.
        provider: makes the maps.
        source: their origin, stored in the files.
        out: folder of the maps; made if it is missing.

    Returns:
        A sentence for each image that was left out.

    Raises:
        ValueError: the provider is a folder of maps and images share a file name, by which it tells them apart.
    """
    if isinstance(provider, DiskDepth) and len({path.stem for path in images.values()}) < len(images):
        raise ValueError(f"Images of several folders have the same name: {provider.path} cannot tell them apart.")
    out.mkdir(parents=True, exist_ok=True)
    there = DiskDepth(str(out))
    wanted = [name for name in images if there.find(name) is None]
    problems: list[str] = []
    with tqdm(total=len(images), initial=len(images) - len(wanted), unit="image", disable=None) as bar:
        for start in range(0, len(wanted), BATCH):
            names = wanted[start : start + BATCH]
            loaded: dict[str, np.ndarray] = {}
            for name in names:
                try:
                    loaded[name] = read_image(images[name])
                except (ValueError, FileNotFoundError) as error:
                    problems.append(str(error))
            maps = maps_or_errors(provider, list(loaded.values()), [images[name] for name in loaded])
            for name, depth in zip(loaded, maps, strict=True):
                if isinstance(depth, ValueError):
                    problems.append(str(depth))
                elif depth is None:
                    problems.append(f"The provider has no depth of {images[name]}.")
                else:
                    file = out / f"{name}.npz"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    write_depth(file, depth, source)
            bar.update(len(names))
    return problems


def main(
    images: Positional[Annotated[tuple[Path, ...], arg(metavar="IMAGE...")]],
    provider: Annotated[str, arg(help=f"NAME:PATH with a name of {', '.join(PROVIDERS)}")],
    out: Path,
) -> None:
    """Estimates the depth of images once, for predictions and for data sets.

    Args:
        images: images, or folders with images somewhere below.
        provider: what makes the maps.
        out: folder of the maps; images that have one there are left out.
    """
    if not images:
        raise ValueError("Name an image, or a folder of images; --help lists the options.")
    found, depth = images_by_name(images), depth_provider(provider)
    problems = precompute(found, depth, provider, out)
    for problem in problems:
        print(f"warning: {problem}", file=sys.stderr)
    if problems:
        raise ValueError(f"{len(problems)} of {len(found)} images were left out.")


if __name__ == "__main__":
    cli.run(main, "python -m data_pipelines.precompute_depth")
