"""A user's own detector in an ONNX file, recognised by what it gives for a blank image.

Class 0 must be the person, as in COCO's 80 classes. Known are:

YOLOX                    (1, N, 85), one row a cell; BGR in [0, 255]
YOLOv5 and v7            (1, N, 85), three rows a cell; RGB in [0, 1], as all below but RTMDet
YOLOv8 and later         (1, 84, N); (1, 5, N) or (1, 56, N) of people alone
YOLO with its own NMS    (1, N, 6)
RTMDet by mmdeploy       dets (1, N, 5) and labels (1, N); BGR, normalised
D-FINE and RT-DETR       labels (1, N), boxes (1, N, 4), scores (1, N), and a second input, orig_target_sizes

Shapes: H, W the image, h, w the network's input, N boxes of the network, n people.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from hmr_jax.detection.detections import Detections, PersonDetector, check_image, distinct_boxes
from hmr_jax.detection.detector import Detector
from hmr_jax.io.onnx_files import open_onnx

THRESHOLD = 0.4
"""On the score of a user's detector."""
_GREY = 114  # beyond the image, as these networks were trained
_SIDE = 640  # of the input where the file leaves it open
_PERSON = 0
_MEAN = np.array([103.53, 116.28, 123.675], np.float32)  # RTMDet's, BGR
_DEVIATION = np.array([57.375, 57.12, 58.395], np.float32)
_KNOWN = (
    "YOLOX (1, N, 85), YOLOv8 (1, 84, N), YOLO with NMS (1, N, 6), RTMDet (dets (1, N, 5), labels (1, N)), D-FINE and "
    "RT-DETR (labels, boxes, scores)"
)


class Found(NamedTuple):
    """Boxes of people in px of the network's input, before the threshold."""

    boxes: np.ndarray
    """(N, 4) left, top, right, bottom."""
    scores: np.ndarray
    """(N,)."""


class OnnxDetector:
    """A detector of people in an ONNX file."""

    def __init__(self, path: str | Path, threshold: float = THRESHOLD):
        """Loads the network and finds out its kind.

        Args:
            path: of the file.
            threshold: on the score.

        Raises:
            FileNotFoundError: there is no file.
            ImportError: onnxruntime is not installed.
            ValueError: the file is no network, or not a known detector.
        """
        self._session = open_onnx(path, "A detector in an ONNX file")
        self.path, self.threshold = path, threshold
        inputs = {one.name: one for one in self._session.get_inputs()}
        self._takes_size = "orig_target_sizes" in inputs
        images = [one for name, one in inputs.items() if name != "orig_target_sizes"]
        if len(images) != 1 or len(images[0].shape) != 4 or images[0].type not in _FLOATS:
            shapes = ", ".join(f"{one.name} {one.shape} {one.type}" for one in inputs.values())
            raise ValueError(f"{path} takes {shapes}; a detector takes one image (1, 3, height, width) of floats.")
        self._input, self._dtype = images[0].name, _FLOATS[images[0].type]
        h, w = (side if isinstance(side, int) else _SIDE for side in images[0].shape[2:])
        self._size = h, w
        self.kind = self._find_kind()

    def __call__(self, image: np.ndarray) -> Detections:
        """The people of an image (H, W, 3), uint8 RGB, the surest first."""
        check_image(image)
        height, width = image.shape[:2]
        h, w = self._size
        picture = Image.fromarray(image)
        if self.kind == "detr":  # trained on images that are squeezed into the input
            pixels, scale = (
                np.asarray(picture.resize((w, h), Image.Resampling.BILINEAR)),
                np.array([w / width, h / height]),
            )
        else:
            factor = min(w / width, h / height)
            size = max(round(width * factor), 1), max(round(height * factor), 1)
            pixels, scale = np.full((h, w, 3), _GREY, np.uint8), np.array(size) / (width, height)
            pixels[: size[1], : size[0]] = np.asarray(picture.resize(size, Image.Resampling.BILINEAR))
        found = decode(self.kind, self._run(prepare(self.kind, pixels)), self._size)
        boxes = found.boxes / np.tile(scale, 2)
        boxes = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
        kept = (found.scores > self.threshold) & ((boxes[:, 2:] - boxes[:, :2]).min(1, initial=np.inf) >= 1)
        boxes, scores = boxes[kept], found.scores[kept].astype(np.float32)
        chosen = distinct_boxes(boxes, scores)
        return Detections(boxes[chosen], scores[chosen])

    def _run(self, pixels: np.ndarray) -> list[np.ndarray]:
        inputs = {self._input: np.moveaxis(pixels, -1, 0)[None].astype(self._dtype)}
        if self._takes_size:
            inputs["orig_target_sizes"] = np.array([self._size[::-1]], np.int64)
        outputs = zip(self._session.get_outputs(), self._session.run(None, inputs), strict=True)
        self._names, values = zip(*((one.name, value) for one, value in outputs), strict=True)
        if self._takes_size and set(_DETR) <= set(self._names):
            return [values[self._names.index(name)] for name in _DETR]
        return list(values)

    def _find_kind(self) -> str:
        """The kind of network, from its outputs for a blank image."""
        try:
            outputs = self._run(np.zeros((*self._size, 3), np.float32))
        except Exception as error:  # onnxruntime raises many types
            raise ValueError(f"{self.path} cannot be run on an image: {str(error).splitlines()[0]}") from error
        kind = kind_of([np.shape(output) for output in outputs], self._size, self._takes_size)
        if kind is None:
            shapes = ", ".join(f"{name} {np.shape(output)}" for name, output in zip(self._names, outputs, strict=True))
            raise ValueError(f"{self.path} gives {shapes}, which is no known detector: take {_KNOWN}.")
        return kind


_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_DETR = ("labels", "boxes", "scores")


def kind_of(shapes: list[tuple[int, ...]], size: tuple[int, int], takes_size: bool = False) -> str | None:
    """The kind of a network by the shapes of its outputs, for an input of (h, w); None for an unknown one."""
    if takes_size:
        right = len(shapes) == 3 and len(shapes[1]) == 3 and shapes[1][2] == 4 and shapes[0] == shapes[2]
        return "detr" if right else None
    if len(shapes) == 2 and len(shapes[0]) == 3 and shapes[0][2] == 5 and shapes[1] == shapes[0][:2]:
        return "rtmdet"
    if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][0] != 1:
        return None
    _, rows, columns = shapes[0]
    cells = len(_cells(size)[1])
    if columns == 85 and rows in (cells, 3 * cells):
        return "yolox" if rows == cells else "yolov5"
    if rows in (84, 5, 56) and columns == cells:
        return "yolov8"
    return "yolo_nms" if columns == 6 else None


def prepare(kind: str, pixels: np.ndarray) -> np.ndarray:
    """(h, w, 3) RGB of [0, 255] as the network wants it, float32."""
    if kind == "yolox":
        return pixels[..., ::-1].astype(np.float32)
    if kind == "rtmdet":
        return (pixels[..., ::-1].astype(np.float32) - _MEAN) / _DEVIATION
    return pixels.astype(np.float32) / 255


def decode(kind: str, outputs: list[np.ndarray], size: tuple[int, int]) -> Found:
    """Boxes of people from the outputs of a network of this kind, for an input of (h, w)."""
    first = np.asarray(outputs[0][0], np.float32)
    if kind == "detr":
        labels, boxes, scores = (np.asarray(output[0], np.float32) for output in outputs)
        return Found(boxes[labels == _PERSON], scores[labels == _PERSON])
    if kind == "rtmdet":
        people = np.asarray(outputs[1][0]) == _PERSON
        return Found(first[people, :4], first[people, 4])
    if kind == "yolo_nms":
        people = first[:, 5] == _PERSON
        return Found(first[people, :4], first[people, 4])
    if kind == "yolov8":
        return Found(_corners(first[:2].T, first[2:4].T), first[4 + _PERSON])
    centres, sides = first[:, :2], first[:, 2:4]
    if kind == "yolox" and np.median(centres) < 16:  # offsets from cells, in cells, and logarithms of sides
        cells, strides = _cells(size)
        centres, sides = (centres + cells) * strides[:, None], np.exp(np.minimum(sides, 20)) * strides[:, None]
    return Found(_corners(centres, sides), first[:, 4] * first[:, 5 + _PERSON])


def _corners(centres: np.ndarray, sides: np.ndarray) -> np.ndarray:
    return np.concatenate([centres - sides / 2, centres + sides / 2], 1)


def _cells(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Column and row (N, 2) of the cells at strides 8, 16 and 32, and their strides (N,)."""
    cells, strides = [], []
    for stride in (8, 16, 32):
        rows, columns = np.mgrid[: size[0] // stride, : size[1] // stride].reshape(2, -1)
        cells.append(np.stack([columns, rows], 1))
        strides.append(np.full(len(rows), stride))
    return np.concatenate(cells), np.concatenate(strides)


def named_detector(text: str) -> PersonDetector:
    """The detector that "builtin" or the path of an ONNX file names.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: onnxruntime is not installed.
        ValueError: the name is another one, or the file no known detector.
    """
    if text == "builtin":
        return Detector()
    if not text.lower().endswith(".onnx"):
        raise ValueError(f"'{text}' is no detector: give builtin, or the path of an ONNX file (.onnx).")
    return OnnxDetector(text)
