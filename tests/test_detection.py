"""Finding people: the built-in detector on synthetic people in larger pictures, and detectors in ONNX files."""

import sys
from pathlib import Path

import jax
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from data_pipelines.synthetic.people import SyntheticPeople
from hmr_jax.detection import Detector, OnnxDetector, find_people, named_detector
from hmr_jax.detection import detector as builtin
from hmr_jax.detection.bodies import Body, cut
from hmr_jax.detection.candidates import Candidates, _windows, distinct, network_input
from hmr_jax.detection.detections import distinct_boxes, overlaps
from hmr_jax.detection.onnx_files import decode, kind_of, prepare

# ---------------------------------------------------------------------------------------------------- the built-in one


@pytest.fixture(scope="module")
def detector():
    return Detector()


@pytest.fixture(scope="module")
def people():
    """Cut-outs of synthetic people: images with a mask as the fourth channel."""
    drawn = SyntheticPeople(size=320, seed=10_000, margin=1.6)
    batch = drawn.batch([0, 4, 18])
    drawn.close()
    cuts = []
    for image, mask in zip(batch["image"], batch["mask"], strict=True):
        alpha = Image.fromarray((mask > 0).astype(np.uint8) * 255).resize((320, 320))
        cutout = Image.fromarray(image)
        cutout.putalpha(alpha)
        cuts.append(cutout.crop(alpha.getbbox()))
    return cuts


def scene(width: int, height: int, *placed: tuple) -> tuple[np.ndarray, np.ndarray]:
    """A grey picture with cut-outs at (left, top) of a height each, and their boxes (n, 4)."""
    picture, boxes = Image.new("RGB", (width, height), (150, 160, 165)), []
    for cutout, left, top, tall in placed:
        size = round(cutout.width * tall / cutout.height), tall
        resized = cutout.resize(size, Image.Resampling.BICUBIC)
        picture.paste(resized, (left, top), resized)
        boxes.append([left, top, min(left + size[0], width), min(top + tall, height)])
    return np.asarray(picture), np.array(boxes, float).reshape(-1, 4)


def found(detector, image: np.ndarray, boxes: np.ndarray) -> bool:
    """Whether there is exactly one detection for every box, with an IoU of a half."""
    given = detector(image).boxes
    return len(given) == len(boxes) and all(overlaps(box, given)[0].max() > 0.5 for box in boxes)


def test_one_person_is_found_tightly(detector, people):
    image, boxes = scene(900, 600, (people[0], 300, 100, 420))
    detections = detector(image)
    assert detections.boxes.shape == (1, 4)
    assert detections.landmarks.shape == (1, 33, 2)
    assert overlaps(boxes[0], detections.boxes)[0] > 0.8
    assert 0.3 < detections.scores[0] <= 1
    left, top, right, bottom = boxes[0]
    x, y = detections.landmarks[0].T
    assert (x > left - 20).all()
    assert (x < right + 20).all()
    assert (y > top - 20).all()
    assert (y < bottom + 20).all()
    assert y[0] < y[[23, 24]].mean() < y[[27, 28]].mean()  # nose, hips, ankles


def test_several_people_of_different_sizes_are_found(detector, people):
    image, boxes = scene(900, 600, (people[0], 80, 60, 480), (people[1], 380, 250, 300), (people[2], 720, 380, 150))
    assert found(detector, image, boxes)


def test_a_small_person_is_found_on_the_finest_level_alone(detector, people):
    image, boxes = scene(900, 600, (people[0], 500, 350, 90))  # 15 % of the height
    assert found(detector, image, boxes)
    assert not len(Detector(levels=(224,))(image).boxes)


def test_people_upside_down_and_cut_off_are_found(detector, people):
    image, boxes = scene(640, 480, (people[0], 250, 80, 320))
    assert found(detector, image[::-1, ::-1], np.array([640, 480, 640, 480]) - boxes[:, [2, 3, 0, 1]])
    assert found(detector, *scene(640, 480, (people[0], 250, 180, 600)))  # legs beyond the picture


def test_pictures_without_people_give_nothing(detector):
    noise = np.random.default_rng(0).integers(0, 256, (120, 200, 3), np.uint8)
    for image in (np.zeros((300, 400, 3), np.uint8), noise, np.zeros((1, 1, 3), np.uint8)):
        detections = detector(image)
        assert detections.boxes.shape == (0, 4)
        assert detections.scores.shape == (0,)
        assert detections.landmarks.shape == (0, 33, 2)


def test_a_person_of_twenty_pixels_is_no_error(detector, people):
    assert len(detector(scene(640, 480, (people[0], 300, 200, 20))[0]).boxes) <= 1


def test_a_long_picture_is_seen_in_windows(detector, people):
    image, boxes = scene(2400, 400, (people[0], 200, 60, 300), (people[2], 2000, 60, 300))
    assert found(detector, image, boxes)


def test_people_of_large_pictures_are_in_pixels_of_these(detector, people, monkeypatch):
    image, boxes = scene(900, 600, (people[0], 80, 60, 480), (people[2], 720, 380, 150))
    large = np.pad(np.kron(image, np.ones((7, 7, 1), np.uint8)), ((0, 1), (0, 2), (0, 0)))  # 6302x4201
    sizes = []
    seen = builtin.find_candidates
    monkeypatch.setattr(builtin, "find_candidates", lambda *given: sizes.append(given[1].size) or seen(*given))
    assert found(detector, large, 7 * boxes)
    assert sizes == [(2101, 1401)]
    whole = np.kron(scene(900, 600, (people[0], 300, 0, 1200))[0], np.ones((5, 5, 1), np.uint8))[:-1, :-1]
    right, bottom = detector(whole).boxes[:, 2:].max(0)
    assert right <= whole.shape[1]
    assert bottom <= whole.shape[0]
    sizes.clear()
    detector(np.zeros((1000, 8000, 3), np.uint8))  # is seen in windows of its height
    assert sizes == [(8000, 1000)]


@pytest.mark.parametrize("size", [(100, 100), (300, 200), (1000, 100), (50, 4000), (7, 1), (1, 1)])
def test_windows_cover_the_image(size):
    windows = list(_windows(*size))
    assert len(windows) <= 8
    covered = np.zeros(size, bool)
    for left, top, width, height in windows:
        assert left >= 0
        assert top >= 0
        assert left + width <= size[0]
        assert top + height <= size[1]
        covered[left : left + width, top : top + height] = True
    assert covered.all()


def test_levels_have_two_shapes():
    for size in ((640, 480), (4000, 1000), (480, 640), (31, 200)):
        pixels, scale = network_input(Image.new("RGB", size, (255, 255, 255)), 448)
        assert pixels.shape[1:3] in ((320, 448), (448, 320))
        white = np.argwhere(pixels[0, ..., 0] > 0.99)
        assert white.min() == 0
        np.testing.assert_allclose(white.max(0)[::-1] + 1, scale * np.array(size), atol=0.51)


def test_a_circle_is_cut_out_with_its_top_above():
    image = Image.new("RGB", (400, 300))
    image.paste((255, 255, 255), (228, 148, 233, 153))  # right of the hips: the person lies with the head there
    hips, top = np.array([200.0, 150]), np.array([260.0, 150])
    crop, matrix = cut(image, hips, top)
    row, column = np.argwhere(crop[..., 0] == crop[..., 0].max()).mean(0) + 0.5
    assert column == pytest.approx(128, abs=2)
    assert row == pytest.approx(128 - 30 * 256 / (2 * 1.25 * 60), abs=2)
    np.testing.assert_allclose(matrix @ [column, row, 1], [230.5, 150.5], atol=1)
    np.testing.assert_allclose(matrix @ [128, 128, 1], hips)


def test_candidates_of_the_same_person_are_merged():
    hips = np.array([[0.0, 0], [3, 0], [0, 0], [60, 0]])
    tops, heads = hips - [0, 50], hips - [0, 40]
    heads[2] = [0, 40]  # another head
    kept = distinct(Candidates(hips, tops, heads, np.array([0.5, 0.9, 0.4, 0.6])))
    assert kept.scores.tolist() == [0.9, 0.6, 0.4]


def test_where_many_are_small_a_finer_level_is_seen(detector, monkeypatch):
    asked = []

    def candidates(network, image, levels, threshold):
        asked.append(levels)
        x = np.arange(1, 4 if len(levels) > 1 else 7) * 100.0
        hips = np.stack([x, np.full(len(x), 300)], 1)
        return Candidates(hips, hips - [0, 50], hips - [0, 40], np.full(len(x), 0.8))

    def body(network, image, hips, top, probability):
        landmarks = np.tile(hips, (33, 1))
        landmarks[0] -= [0, 40]
        return Body(np.concatenate([hips - 40, hips + 40]), landmarks, np.stack([hips, top]), probability)

    monkeypatch.setattr(builtin, "find_candidates", candidates)
    monkeypatch.setattr(builtin, "find_body", body)
    assert len(detector(np.zeros((600, 800, 3), np.uint8)).boxes) == 6
    assert asked == [(224, 448, 672), (1344,)]


def test_levels_and_images_are_checked(detector):
    for levels in ((), (0,), (300,)):
        with pytest.raises(ValueError, match="give multiples of 224"):
            Detector(levels=levels)
    for image in (np.zeros((10, 10), np.uint8), np.zeros((10, 10, 3)), np.zeros((0, 10, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"takes images \(H, W, 3\) of uint8"):
            detector(image)


def test_a_users_check_of_ranks_stops_no_detection(detector):
    with jax.numpy_rank_promotion("raise"):
        assert len(detector(np.zeros((60, 80, 3), np.uint8)).boxes) == 0


def test_several_images_give_what_they_give_alone(detector, people):
    images = [scene(640, 480, (people[i], 200, 80, 320))[0] for i in range(3)]
    for together, image in zip(find_people(detector, images), images, strict=True):
        np.testing.assert_array_equal(together.boxes, detector(image).boxes)


# ------------------------------------------------------------------------------------------------------- ONNX files

SIZE = (640, 640)
CELLS = 8400
BOX = np.array([100.0, 50, 200, 250])  # of a person, in px of the input; another class has a box elsewhere
CENTRE = np.array([150.0, 150, 100, 200])


def rows(columns: int, count: int = CELLS) -> np.ndarray:
    """(1, count, columns): row 7 is a person, row 9 a car, as centre, size and classes from column 4 or 5 on."""
    output = np.zeros((1, count, columns), np.float32)
    output[..., :4] = 300, 300, 50, 50
    output[0, [7, 9], :4] = CENTRE
    return output


def yolov8() -> list[np.ndarray]:
    output = rows(84)
    output[0, 7, 4], output[0, 9, 6] = 0.9, 0.95
    return [output.transpose(0, 2, 1)]


def yolov5() -> list[np.ndarray]:
    output = rows(85, 3 * CELLS)
    output[0, [7, 9], 4] = 1.0
    output[0, 7, 5], output[0, 9, 7] = 0.9, 0.95
    return [output]


def yolox() -> list[np.ndarray]:
    output = np.zeros((1, CELLS, 85), np.float32)
    cell = 10 * 80 + 12  # row 10, column 12 at stride 8
    output[0, cell, :4] = 150 / 8 - 12, 150 / 8 - 10, np.log(100 / 8), np.log(200 / 8)
    output[0, cell, 4:6] = 1, 0.9
    output[0, cell + 1, 4], output[0, cell + 1, 7] = 1, 0.95
    return [output]


def yolox_decoded() -> list[np.ndarray]:
    output = rows(85)
    output[0, 7, 4:6] = 1, 0.9
    return [output]


def yolo_nms() -> list[np.ndarray]:
    return [np.array([[[*BOX, 0.9, 0], [300, 300, 400, 400, 0.95, 2], [0, 0, 0, 0, 0, 0]]], np.float32)]


def rtmdet() -> list[np.ndarray]:
    return [yolo_nms()[0][..., :5], np.array([[0, 2, 0]], np.int64)]


def detr() -> list[np.ndarray]:
    first = yolo_nms()[0]
    return [np.array([[0, 2, 0]], np.int64), first[..., :4], first[..., 4]]


NETWORKS = {
    "yolov8": (yolov8, ["output0"]), "yolov5": (yolov5, ["output"]), "yolox": (yolox, ["output"]),
    "yolo_nms": (yolo_nms, ["output0"]), "rtmdet": (rtmdet, ["dets", "labels"]),
    "detr": (detr, ["labels", "boxes", "scores"]),
}  # fmt: skip


def onnx_file(
    folder: Path, outputs: list[np.ndarray], names: list[str], sizes: bool = False, side: object = 640
) -> str:
    """A network that gives these outputs whatever it sees."""
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))
        for name, value in zip(names, outputs, strict=True)
    ]
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, side, side])]
    if sizes:
        inputs.append(helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, [1, 2]))
    kinds = [helper.np_dtype_to_tensor_dtype(value.dtype) for value in outputs]
    infos = [
        helper.make_tensor_value_info(name, kind, None)
        for name, kind in zip(names, kinds, strict=True)
    ]  # fmt: skip
    graph = helper.make_graph(nodes, "detector", inputs, infos)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "detector.onnx"
    onnx.save(model, path)
    return str(path)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("side", [640, "height"])
def test_detectors_are_recognised_and_give_px_of_the_image(tmp_path, kind, side):
    outputs, names = NETWORKS[kind]
    network = OnnxDetector(onnx_file(tmp_path, outputs(), names, kind == "detr", side))
    assert network.kind == kind
    detections = network(np.zeros((240, 320, 3), np.uint8))
    scale = np.array([2, 640 / 240, 2, 640 / 240]) if kind == "detr" else 2
    np.testing.assert_allclose(detections.boxes, [BOX / scale], atol=0.01)
    np.testing.assert_allclose(detections.scores, [0.9], atol=1e-6)
    assert detections.landmarks is None


def test_outputs_may_come_in_another_order(tmp_path):
    labels, boxes, scores = detr()
    network = OnnxDetector(onnx_file(tmp_path, [scores, labels, boxes], ["scores", "labels", "boxes"], sizes=True))
    assert len(network(np.zeros((64, 64, 3), np.uint8)).boxes) == 1


def test_decoded_yolox_and_people_alone():
    boxes, scores = decode("yolox", yolox_decoded(), SIZE)
    np.testing.assert_allclose(boxes[7], BOX)
    assert scores.argmax() == 7
    assert kind_of([(1, 5, CELLS)], SIZE) == kind_of([(1, 56, CELLS)], SIZE) == "yolov8"
    assert kind_of([(1, CELLS, 85)], (320, 320)) is None


def test_each_network_gets_the_colours_that_it_knows():
    red = np.full((2, 2, 3), (255, 0, 0), np.uint8)
    np.testing.assert_array_equal(prepare("yolov8", red)[0, 0], [1, 0, 0])
    np.testing.assert_array_equal(prepare("yolox", red)[0, 0], [0, 0, 255])
    normalised = [-103.53 / 57.375, -116.28 / 57.12, (255 - 123.675) / 58.395]
    np.testing.assert_allclose(prepare("rtmdet", red)[0, 0], normalised, rtol=1e-5)


def test_other_networks_are_refused_with_their_outputs(tmp_path):
    path = onnx_file(tmp_path, [np.zeros((1, 1000), np.float32)], ["logits"])
    with pytest.raises(ValueError, match=r"gives logits \(1, 1000\), which is no known detector: take YOLOX"):
        OnnxDetector(path)
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ValueError, match="cannot be loaded as an ONNX network"):
        OnnxDetector(tmp_path / "text.onnx")
    with pytest.raises(FileNotFoundError, match=r"There is no ONNX file none\.onnx"):
        named_detector("none.onnx")
    with pytest.raises(ValueError, match="'yolo' is no detector: give builtin, or the path of an ONNX file"):
        named_detector("yolo")


def test_without_onnxruntime_the_message_says_what_to_install(tmp_path, monkeypatch):
    path = onnx_file(tmp_path, yolo_nms(), ["output0"])
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"pip install 'hmr_jax\[onnx\]'"):
        OnnxDetector(path)


def test_overlapping_boxes_are_one_person():
    boxes = np.array([[0.0, 0, 10, 20], [1, 0, 10, 20], [30, 0, 40, 20], [0, 0, 10, 9]])
    assert distinct_boxes(boxes, np.array([0.5, 0.9, 0.7, 0.6])) == [1, 2, 3]
    union, smaller = overlaps(boxes[0], boxes)
    np.testing.assert_allclose(union, [1, 0.9, 0, 0.45])
    np.testing.assert_allclose(smaller, [1, 1, 0, 1])
