"""Estimated depth for a build: maps on disk, found by the paths of the images.

    <depth_dir>/a/b.npz, .npy or .png       of the image <manual>/a/b.jpg, or <images>/a/b.jpg where that is elsewhere

`python -m data_pipelines.precompute_depth MANUAL --out DEPTH_DIR` writes such a folder.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from data_pipelines.builders.labels.source_images import SourceImage
from data_pipelines.loading.pseudo_depth import stored_depth
from data_pipelines.records.storage import absolute
from hmr_jax.depth import DepthMap, read_depth
from hmr_jax.depth.providers import DiskDepth, depth_provider

WITH, NO_MAP, WRONG_SIZE, DAMAGED, UNKNOWN = (
    "with a map", "no map", "map not of the image's size", "map cannot be read", "nothing known around the person",
)  # fmt: skip


class DepthFiles:
    """Cuts people's depth out of the maps; keeps the last map, as people of one image are neighbours."""

    def __init__(self, source: str):
        """Opens the folder of the maps.

        Args:
            source: a folder, or "disk-metric:FOLDER" where .npy and .png files hold metres.

        Raises:
            FileNotFoundError: there is no such folder.
            ValueError: it is not a folder.
        """
        provider = depth_provider(source)
        if not isinstance(provider, DiskDepth) or not provider.path.is_dir():
            raise ValueError(
                f"depth_dir must be a folder of depth maps, not '{source}': "
                "python -m data_pipelines.precompute_depth makes one."
            )
        self._disk = provider
        self._last: tuple[SourceImage | None, DepthMap | str] = (None, NO_MAP)
        self.counts = Counter[str]()
        """People by what was found for them."""

    def __call__(
        self, image: SourceImage, source_box: np.ndarray, size: int, roots: Sequence[epath.Path]
    ) -> dict[str, Any]:
        """Arguments of `records.encode` for a person's depth, empty where there is none; counted in `counts`.

        Args:
            image: the whole image.
            source_box: (4,) left, top, right, bottom of the stored square in it, px.
            size: side of the square as stored, px.
            roots: folders that the folder of maps mirrors; the first that holds the image counts.
        """
        if self._last[0] is not image:
            self._last = image, self._read(image, roots)
        depth = self._last[1]
        stored = {} if isinstance(depth, str) else stored_depth(depth, source_box, (size, size))
        self.counts[depth if isinstance(depth, str) else WITH if stored else UNKNOWN] += 1
        return stored

    def _read(self, image: SourceImage, roots: Sequence[epath.Path]) -> DepthMap | str:
        """The map of an image in the orientation of its labels, or why there is none."""
        path = image.path and absolute(image.path)
        names = [str(path.relative_to(root).with_suffix("")) for root in roots if path and path.is_relative_to(root)]
        file = self._disk.find(names[0]) if names else None
        if file is None:
            return NO_MAP
        try:
            depth = read_depth(file, self._disk.kind)
        except ValueError:
            return DAMAGED
        values = image.oriented(depth.values)
        return DepthMap(values, depth.kind) if values.shape == (image.height, image.width) else WRONG_SIZE
