"""Providers of depth maps: files on disk, or a network that estimates them.

    provider = depth_provider("disk:depths")    # or the folder or file alone, "onnx:network.onnx", "flax:FOLDER", ...
    maps = provider([image], [path])

Shapes: H, W the image.
"""

import difflib
import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from hmr_jax.config.depth_anything import is_called_metric
from hmr_jax.depth.maps import SUFFIXES, DepthMap, Kind, read_depth
from hmr_jax.depth.resizing import network_size, prepare, resize_linear
from hmr_jax.io.onnx_files import open_onnx


class DepthProvider(Protocol):
    """Depth maps of whole images."""

    def __call__(self, images: Sequence[np.ndarray], paths: Sequence[Path]) -> list[DepthMap | None]:
        """Maps of the images, each of its image's size; None where there is no map.

        Args:
            images: (H, W, 3) uint8 RGB each, of any sizes.
            paths: their files; maps on disk are found by these names.

        Raises:
            ValueError: if a map cannot be used; the message names it.
        """
        ...


def maps_or_errors(
    provider: DepthProvider, images: Sequence[np.ndarray], paths: Sequence[Path]
) -> list[DepthMap | None | ValueError]:
    """The provider's maps; for an image whose map cannot be used, the error instead."""
    try:
        return list(provider(images, paths))
    except ValueError as error:
        if len(images) == 1:
            return [error]
        pairs = zip(images, paths, strict=True)
        return [maps_or_errors(provider, [image], [path])[0] for image, path in pairs]


class DiskDepth:
    """Precomputed maps: FOLDER/NAME.npz, .npy or .png of images NAME.*, or one file for one image."""

    def __init__(self, path: str, kind: Kind = "inverse"):
        """Checks that the path exists.

        Args:
            path: of the folder or file.
            kind: of maps that do not state it.

        Raises:
            FileNotFoundError: if it does not exist.
        """
        self.path, self.kind = Path(path), kind
        if not self.path.exists():
            raise FileNotFoundError(f"There is no depth file or folder {self.path}.")

    def find(self, name: str) -> Path | None:
        """The map of the image of this name (without suffix), if there is one."""
        if self.path.is_file():
            return self.path
        forms = dict.fromkeys((name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)))
        files = (self.path / f"{form}{suffix}" for form in forms for suffix in SUFFIXES)
        return next((file for file in files if file.is_file()), None)

    def check_images(self, paths: Sequence[Path]) -> None:
        """Raises ValueError if a map would serve several images: one file, or images of one name."""
        users: dict[Path | None, Path] = {}
        for path in paths:
            file = self.find(path.stem)
            if file is not None and (other := users.setdefault(file, path)) != path:
                if self.path.is_file():
                    raise ValueError(f"{file} is the depth of one image, not of {len(paths)}: name a folder of maps.")
                raise ValueError(f"{file} would be the depth of both {other} and {path}: give them different names.")

    def __call__(self, images: Sequence[np.ndarray], paths: Sequence[Path]) -> list[DepthMap | None]:
        self.check_images(paths)
        return [self._read(image, path) for image, path in zip(images, paths, strict=True)]

    def _read(self, image: np.ndarray, path: Path) -> DepthMap | None:
        file = self.find(path.stem)
        if file is None:
            return None
        depth = read_depth(file, self.kind)
        depth.check_size((image.shape[1], image.shape[0]), str(file))
        return depth


class OnnxDepth:
    """A network in an ONNX file: one float input (1, 3, h, w), one output (1, h, w) or (1, 1, h, w).

    Images are resized as by Depth Anything V2's own code, with their aspect kept; or to the size that the file fixes.
    """

    def __init__(self, path: str, kind: Kind = "inverse"):
        """Loads the network.

        Args:
            path: of the file.
            kind: of the network's output.

        Raises:
            FileNotFoundError: if there is no file.
            ImportError: if onnxruntime is not installed.
            ValueError: if the file is not a depth network, or only its name says that it is a metric one.
        """
        if kind == "inverse" and is_called_metric(path):
            raise ValueError(f"{path} is called as a metric network: name it onnx-metric:{path}, or rename the file.")
        self._session = open_onnx(path, "An ONNX depth network")
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[1] not in (3, None, "channels"):
            shapes = ", ".join(f"{one.name} {one.shape}" for one in inputs)
            raise ValueError(f"{path} takes {shapes}; a depth network takes one image (1, 3, height, width).")
        self.path, self.kind, self._input = path, kind, inputs[0].name
        height, width = inputs[0].shape[2:]
        self._fixed = (height, width) if isinstance(height, int) and isinstance(width, int) else None

    def __call__(self, images: Sequence[np.ndarray], paths: Sequence[Path]) -> list[DepthMap | None]:
        return [self._estimate(image) for image in images]

    def _estimate(self, image: np.ndarray) -> DepthMap:
        pixels = prepare(image, self._fixed or network_size(image.shape))
        output = self._session.run(None, {self._input: np.moveaxis(pixels, -1, 0)[None]})[0]
        values = np.asarray(output, np.float32)
        while values.ndim > 2 and values.shape[0] == 1:
            values = values[0]
        depth = DepthMap.from_values(values, self.kind, f"The output of {self.path}")
        return DepthMap.from_values(resize_linear(depth.values, image.shape[:2]), self.kind)


class FlaxDepth:
    """Depth Anything in JAX, from a folder that `python -m hmr_jax.weights.convert` wrote."""

    def __init__(self, path: str):
        """Loads the network; raises FileNotFoundError if the folder holds no checkpoint."""
        from hmr_jax.depth.network import DepthNetwork  # imports the models, which the other providers do not need

        self._network = DepthNetwork.from_checkpoint(path)

    def __call__(self, images: Sequence[np.ndarray], paths: Sequence[Path]) -> list[DepthMap | None]:
        return [DepthMap.from_values(values, self._network.kind) for values in self._network.batch(images)]


PROVIDERS: dict[str, Callable[[str], DepthProvider]] = {
    "disk": DiskDepth,
    "disk-metric": partial(DiskDepth, kind="metric"),
    "onnx": OnnxDepth,
    "onnx-metric": partial(OnnxDepth, kind="metric"),
    "flax": FlaxDepth,
}
"""By the name before the colon; called with the path after it."""


def depth_provider(text: str) -> DepthProvider:
    """The provider that "NAME:PATH" or the path of a depth file or folder names.

    Raises:
        FileNotFoundError: if the path does not exist.
        ValueError: for an unknown provider, with the nearest names.
    """
    name, colon, path = text.partition(":")
    if name in PROVIDERS and path:
        return PROVIDERS[name](path)
    if Path(text).exists():
        return DiskDepth(text)
    if not colon:
        raise FileNotFoundError(f"There is no depth file or folder {text}; a provider is named NAME:PATH ({_names()}).")
    near = difflib.get_close_matches(name, PROVIDERS, 1)
    hint = f"; did you mean '{near[0]}'?" if near and near[0] != name else f": use {_names()}, followed by :PATH."
    raise ValueError(f"'{text}' names no depth provider{hint}")


def _names() -> str:
    return ", ".join(PROVIDERS)
