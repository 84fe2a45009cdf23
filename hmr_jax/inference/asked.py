"""Who is asked for: box, square, camera and keypoints of each person, which are known before the network runs.

Shapes: n people of an image.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hmr_jax.detection import Detections
from hmr_jax.geometry.boxes import as_boxes, check_box, square_box
from hmr_jax.inference.inputs import one_per_image
from hmr_jax.inference.keypoint_files import each_person
from hmr_jax.inference.photo import Photo


def people_asked_for(
    photos: Sequence[Photo],
    boxes: Any,
    enlarge: float,
    keypoints: Sequence[np.ndarray | None],
    turns: Sequence[np.ndarray] | None = None,
    upright: bool = False,
) -> Iterator[dict[str, Any]]:
    """Fields of `PersonPrediction` for every box; "box_turn" is where the search for an upright crop starts.

    Args:
        photos: the images.
        boxes: (n, 4) or `Detections` of each.
        enlarge: factor on the boxes.
        keypoints: (n, K, 3) or None of each.
        turns: (n,) degrees of each, where upright crops are looked for; None: as the detections lean, else 0.
        upright: whether they are looked for.

    Raises:
        ValueError: they are of other numbers of images or people, or a box cannot be meant.
    """
    boxes = one_per_image(boxes, len(photos), "boxes", "one array of boxes per image")
    for index, (photo, image_boxes, points) in enumerate(zip(photos, boxes, keypoints, strict=True)):
        found = image_boxes if isinstance(image_boxes, Detections) else None
        own_boxes = as_boxes(image_boxes if found is None else found.boxes, f"The boxes of image {index}")
        of_each = each_person(points, len(own_boxes), f"Image {index}")
        starts = np.zeros(len(own_boxes))
        if upright and turns is not None:
            starts = turns[index]
        elif upright and found is not None:
            starts = found.leaning
        for number, (box, own, turn) in enumerate(zip(own_boxes, of_each, starts, strict=True)):
            check_box(box, photo.size, f"Box {number} of image {index}")
            center, side = square_box(box, enlarge)
            yield {
                "image_index": index, "box": box.astype(np.float32), "box_center": center.astype(np.float32),
                "box_size": side, "box_turn": float(turn), "focal_length": photo.camera.focal_length,
                "principal_point": photo.camera.principal_point, "camera_source": photo.camera.source,
                "lens": photo.camera.lens, "keypoints_given": own,
            }  # fmt: skip
