"""Scores a detector of people on annotated photographs, and times it.

python -m benchmarks.detection FOLDER [--detector FILE.onnx]

FOLDER holds people.json, a list of {"image": file name, "box": [left, top, right, bottom]}, and the folder images. A
person is found if a box overlaps the annotated one by half (IoU), one box a person. Photographs seldom have all their
people annotated: look at the other boxes with --pictures.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from hmr_jax import runtime
from hmr_jax.detection import Detections, PersonDetector, named_detector
from hmr_jax.detection.detections import overlaps
from hmr_jax.io.images import read_image

TALL = 0.15  # of the picture's height: smaller people are not asked for


def main() -> None:
    """Prints recall, false boxes and milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", default="builtin", help="builtin, or an ONNX file")
    parser.add_argument("--overlap", type=float, default=0.5, help="IoU of a box with a person it finds")
    parser.add_argument("--pictures", type=Path, help="folder for pictures with the boxes")
    options = parser.parse_args()
    runtime.set_up(inference=True)
    detector = named_detector(options.detector)
    annotated = read_people(options.folder / "people.json")
    paths = sorted((options.folder / "images").iterdir())
    images = {path.name: read_image(path) for path in paths}
    times, wanted, found, others = [], 0, 0, 0
    for name, image in images.items():
        detections, seconds = timed(detector, image)
        times.append(seconds)
        people = annotated[name]
        hits, rest = match(detections.boxes, people, options.overlap)
        tall = (people[:, 3] - people[:, 1]) > TALL * len(image)
        wanted, found, others = wanted + tall.sum(), found + (hits & tall).sum(), others + len(rest)
        print(f"{name:32} found {hits.sum()} of {len(hits)}, other boxes {len(rest)}, {1e3 * seconds:.0f} ms")
        if options.pictures:
            draw(image, people, detections, options.pictures / f"{name}.png")
    share = f"{found} of {wanted} annotated people higher than {100 * TALL:.0f} % of their picture"
    print(f"\nrecall {found / wanted:.3f}: {share}, {len(images)} pictures")
    print(f"boxes of no annotated person: {others}, {others / len(images):.2f} a picture")
    print(f"median {1e3 * np.median(times):.0f} ms a picture, largest {1e3 * max(times):.0f}")


def read_people(path: Path) -> defaultdict[str, np.ndarray]:
    """Boxes (n, 4) by file name."""
    people: defaultdict[str, np.ndarray] = defaultdict(lambda: np.zeros((0, 4)))
    for person in json.loads(path.read_text()):
        people[person["image"]] = np.concatenate([people[person["image"]], [person["box"]]])
    return people


def timed(detector: PersonDetector, image: np.ndarray) -> tuple[Detections, float]:
    """Detections, and the median of three times after a first call."""
    times = []
    for _ in range(4):
        start = time.perf_counter()
        detections = detector(image)
        times.append(time.perf_counter() - start)
    return detections, float(np.median(times[1:]))


def match(boxes: np.ndarray, people: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Which people (n,) are found, and the boxes (m, 4) that find nobody; the boxes are in falling order."""
    hits, rest = np.zeros(len(people), bool), []
    for box in boxes:
        union = np.where(hits, 0, overlaps(box, people)[0]) if len(people) else np.zeros(1)
        if union.max() >= least:
            hits[union.argmax()] = True
        else:
            rest.append(box)
    return hits, np.array(rest).reshape(-1, 4)


def draw(image: np.ndarray, people: np.ndarray, found: Detections, path: Path) -> None:
    """Annotated boxes green, found ones red with their score."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    for box in people.tolist():
        pen.rectangle(box, outline=(0, 255, 0), width=2)
    for box, score in zip(found.boxes.tolist(), found.scores, strict=True):
        pen.rectangle(box, outline=(255, 0, 0), width=3)
        pen.text((box[0] + 4, box[1] + 2), f"{score:.2f}", fill=(255, 0, 0))
    picture.save(path)


if __name__ == "__main__":
    main()
