"""What a call of `Predictor` returns: the people of some images, which can be shown, written and read on.

    people = predictor("photo.jpg")
    people.show()
    people.save("predictions")
    people.to_dict()["photo"]["people"][0]["betas"]

Shapes: H, W an image.
"""

import io
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hmr_jax.inference.origin import Origin
from hmr_jax.inference.person import PersonPrediction
from hmr_jax.inference.photo import Photo
from hmr_jax.inference.result_files import check_no_image_is_a_result, result_names
from hmr_jax.inference.results import (
    DEFAULT_KINDS,
    Kind,
    check_kinds,
    draw_overlay,
    header,
    person_record,
    without_mesh,
    write_page,
    write_results,
)
from hmr_jax.rendering.export import Axes, contents


class People(list[PersonPrediction]):
    """The people of some images: a list, in the order of images and boxes."""

    def __init__(self, people: Iterable[PersonPrediction], photos: Sequence[Photo], origin: Origin):
        """Puts them together.

        Args:
            people: of the images; their `image_index` counts the photos.
            photos: the images, also those without people.
            origin: the network.
        """
        super().__init__(people)
        self.photos = list(photos)
        """The images."""
        self.origin = origin
        """The network."""

    @property
    def names(self) -> list[str]:
        """Of each image, as its results are called: the stem of its file, or "image"; with a number to differ."""
        return result_names([photo.path for photo in self.photos])

    def of(self, image: int) -> list[PersonPrediction]:
        """The people of one image, by its index."""
        return [person for person in self if person.image_index == image]

    def overlay(self, image: int = 0) -> np.ndarray:
        """An image with its bodies, and views from the side and from above: (rows, columns, 3) uint8.

        Args:
            image: index of the image.
        """
        return draw_overlay(self.origin, self.of(image), self.photos[image])

    def show(self) -> None:
        """Shows the overlay of each image: below the cell of a notebook, else in the system's viewer of images."""
        show = Image.Image.show
        if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
            show = sys.modules["IPython"].display.display
        for number in range(len(self.photos)):
            show(Image.fromarray(self.overlay(number)))

    def save(self, folder: str | Path, kinds: Collection[Kind] = DEFAULT_KINDS, axes: Axes = "opengl") -> list[Path]:
        """Writes the files of each image, as predict.py does; docs/outputs.md describes them.

        Args:
            folder: of the results; created if needed. Earlier results of the same names are replaced or removed.
            kinds: of files, of `hmr_jax.inference.results.KINDS`.
            axes: of the meshes.

        Returns:
            The files written.

        Raises:
            ValueError: there is no such kind, or a result would overwrite an image.
        """
        folder, names = Path(folder), self.names
        check_kinds(kinds)
        check_no_image_is_a_result([photo.path for photo in self.photos], names, folder)
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for number, (name, photo) in enumerate(zip(names, self.photos, strict=True)):
            files += write_results(self.origin, self.of(number), photo, folder, name, axes, kinds)
        return files

    def to_html(self, path: str | Path) -> Path:
        """Writes a page of one file: the overlays, tables of the people, and bodies that the mouse rotates."""
        shown = [(photo, self.of(number), self.overlay(number)) for number, photo in enumerate(self.photos)]
        return write_page(Path(path), self.origin, shown)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """By the name of each image, what its JSON file has: only dictionaries, lists, numbers and text."""
        return {
            name: contents(
                header(self.origin, photo), [without_mesh(person_record(person)) for person in self.of(number)]
            )
            for number, (name, photo) in enumerate(zip(self.names, self.photos, strict=True))
        }

    def _repr_png_(self) -> bytes | None:
        """What notebooks show of it: the overlay of its first image."""
        if not self.photos:
            return None
        data = io.BytesIO()
        Image.fromarray(self.overlay()).save(data, "PNG")
        return data.getvalue()
