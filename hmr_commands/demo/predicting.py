"""What the worker does with an upload: reads it, finds its people, predicts their bodies and writes the results.

Shapes: H, W an image, n its boxes.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hmr_commands.demo.storage import Kept
from hmr_commands.demo.worker import Progress
from hmr_jax.detection import find_people
from hmr_jax.geometry.boxes import as_boxes, check_box
from hmr_jax.geometry.intrinsics import FOCAL_RANGE, image_camera
from hmr_jax.inference import People, PersonPrediction, Predictor
from hmr_jax.io.exif import focal_length_of_file
from hmr_jax.io.images import read_image
from hmr_jax.rendering.overlay import PALETTE
from hmr_jax.rendering.player import viewer_page

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIF")
"""Pillow's names of what is read; others may call programs on the file."""
RESULTS = {"people.json": "image.json", "people.npz": "image.npz", "people.glb": "image.glb"}
"""Downloads, and the files that hold them."""
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_SHOWN = 1280  # px of the longer side of the image that the page shows, and of the overlay


def name_by_content(path: Path) -> Path:
    """Gives an upload the suffix that `read_image` knows HEIF by, if it is that; returns its path."""
    with path.open("rb") as file:
        start = file.read(40)  # a brand, and those that the file is compatible with
    if start[4:8] != b"ftyp" or start[8:12] not in _HEIF_BRANDS or b"avif" in start:
        return path
    return path.rename(path.with_suffix(".heic"))


def look_at(predictor: Predictor, upload: Kept, progress: Progress) -> dict[str, Any]:
    """Reads an upload, writes the image that the page shows, and finds the people.

    Args:
        predictor: with a detector.
        upload: with the file "image" in its folder; gets "path", "size", and "found", the boxes (n, 4) and scores (n,).
        progress: is told the stage.

    Returns:
        What the page needs: size, boxes with scores, and the camera.

    Raises:
        ValueError: the file is no image of `FORMATS`, or cannot be read.
    """
    progress("Reading the image")
    path = name_by_content(upload.folder / "image")
    image = _read(path)
    height, width = image.shape[:2]
    upload.facts |= {"path": path, "size": (width, height)}
    shown = Image.fromarray(image)
    shown.thumbnail((_SHOWN, _SHOWN))
    shown.save(upload.folder / "shown.jpg", quality=90)
    progress("Finding people")
    if predictor.detector is None:
        raise TypeError("the predictor has no detector")
    boxes, scores, _ = find_people(predictor.detector, [image])[0]
    upload.facts["found"] = boxes, scores
    camera = image_camera((width, height), None, focal_length_of_file(path), predictor.crop_focal_length)
    return {
        "image": upload.id,
        "width": width,
        "height": height,
        "people": [
            {"box": _rounded(box), "score": round(float(score), 3)} for box, score in zip(boxes, scores, strict=True)
        ],
        "focal_length": round(float(camera.focal_length[0]), 1),
        "focal_length_source": camera.source,
    }


def check_request(upload: Kept, boxes: Any, focal_length: float | None, most: int) -> np.ndarray:
    """The boxes (n, 4) of a request.

    Args:
        upload: that `look_at` has read.
        boxes: n of left, top, right, bottom, px.
        focal_length: px, or None.
        most: boxes.

    Raises:
        ValueError: the upload is not yet read, there are no or too many boxes, or a number cannot be right.
    """
    if "size" not in upload.facts:
        raise ValueError("The image is not read yet: wait for its people first.")
    size = upload.facts["size"]
    found = as_boxes(boxes)
    if not 1 <= len(found) <= most:
        raise ValueError(f"There are {len(found)} boxes: give 1 to {most}, one around each person.")
    for number, box in enumerate(found, 1):
        check_box(box, size, f"Box {number}")
    low, high = (factor * max(size) for factor in FOCAL_RANGE)
    if focal_length is not None and not low <= focal_length <= high:
        raise ValueError(
            f"A focal length of {focal_length:g} px is not possible for an image of {size[0]}x{size[1]}: "
            f"give {math.ceil(low):,} to {math.floor(high):,} px, or leave the field empty."
        )
    return found


def predict(
    predictor: Predictor, upload: Kept, result: Kept, boxes: np.ndarray, focal_length: float | None, progress: Progress
) -> dict[str, Any]:
    """Predicts the people of an upload and writes the results into a folder.

    Args:
        predictor: the network.
        upload: that `look_at` has read.
        result: of the results.
        boxes: (n, 4) left, top, right, bottom, px.
        focal_length: px; None: that of EXIF, or the predictor's default.
        progress: is told the stage.

    Returns:
        What the page shows: a row per person, the camera, and the sizes of the pictures.
    """
    count = len(boxes)
    progress(f"Predicting {count} {'person' if count == 1 else 'people'}")
    path: Path = upload.facts["path"]
    width, height = upload.facts["size"]
    camera = None if focal_length is None else (focal_length, focal_length, width / 2, height / 2)
    people = predictor([path], [boxes], [camera])
    uncertainty = people.photos[0].camera.relative_uncertainty
    progress("Drawing the overlay")
    overlay = people.overlay()
    front = round(width * min(1.0, len(overlay) / height))
    for name, panel in (("overlay.jpg", overlay[:, :front]), ("views.jpg", overlay[:, front:])):
        if panel.size:
            Image.fromarray(panel).save(result.folder / name, quality=90)
    progress("Writing the files")
    people.save(result.folder, ("json", "npz", "glb"))
    result.facts["people"] = count
    return {
        "result": result.id,
        "image": upload.id,
        "people": [_row(person, _score(upload, person.box), uncertainty) for person in people],
        "has_views": (result.folder / "views.jpg").exists(),
        "files": [
            {"name": name, "bytes": (result.folder / file).stat().st_size}
            for name, file in RESULTS.items()
            if (result.folder / file).exists()
        ],
    } | _camera(people)


def body_page(result: Kept, which: int | None) -> str:
    """The page with one body of some results, or with all of them.

    Raises:
        IndexError: there is no such person.
    """
    with np.load(result.folder / RESULTS["people.npz"]) as file:
        vertices, translations, faces = file["vertices"], file["translation"], file["faces"]
    if which is not None:
        color = PALETTE[[which % len(PALETTE)]]
        return viewer_page(f"Person {which}", [vertices[which]], faces, color)
    return viewer_page("People", list(vertices + translations[:, None]), faces, PALETTE)


def _read(path: Path) -> np.ndarray:
    """`read_image` for files of `FORMATS`, with messages that do not name the server's folders."""
    if path.suffix != ".heic":
        Image.init()
        try:
            with Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN]):
                pass
        except Image.UnidentifiedImageError:
            known = "JPEG, PNG, WebP, AVIF, TIFF, BMP, GIF or HEIF"
            raise ValueError(f"This file is not an image that can be read: give {known}.") from None
        except Exception:  # `read_image` says what is wrong
            pass
    try:
        return read_image(path, in_thread=True)
    except ValueError as error:
        raise ValueError(str(error).replace(str(path), "This file")) from None


def _row(person: PersonPrediction, score: float | None, uncertainty: float | None) -> dict[str, Any]:
    distance = float(np.linalg.norm(person.joints[0] + person.translation))
    return {
        "box": _rounded(person.box),
        "score": score,
        "distance": round(distance, 3),
        "distance_error": None if uncertainty is None else round(distance * uncertainty, 3),
    }


def _score(upload: Kept, box: np.ndarray) -> float | None:
    """The detector's score of a box that the user left as it was found, None for others."""
    boxes, scores = upload.facts["found"]
    same = np.flatnonzero((np.abs(boxes - box) < 0.6).all(-1)) if len(boxes) else np.zeros(0, int)
    return round(float(scores[same[0]]), 3) if len(same) else None


def _camera(people: People) -> dict[str, Any]:
    camera = people.photos[0].camera
    return {"focal_length": round(float(camera.focal_length[0]), 1), "focal_length_source": camera.source}


def _rounded(box: np.ndarray) -> list[float]:
    return [round(float(side), 1) for side in box]
