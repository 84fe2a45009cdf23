"""BlazePose: files of TensorFlow Lite are read strictly, and the network equals the original runtime."""

import struct
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tflite_skeleton import fill, image

from hmr_jax.checkpoints import load_for_inference
from hmr_jax.checkpoints.converted import BACKBONE, load_network
from hmr_jax.models.backbones.blazepose import SIZES, BlazePose
from hmr_jax.models.backbones.blazepose_detector import BlazePoseDetector, anchor_centres
from hmr_jax.ops.stem import stem_convolution
from hmr_jax.weights.blazepose import convert_blazepose
from hmr_jax.weights.convert import convert
from hmr_jax.weights.tflite_file import parse_tflite, read_tflite

DATA = Path(__file__).parent / "data"
START = DATA / "blazepose_start.tflite"  # the first operators of a published file
SPARSE = DATA / "blazepose_detector_start.tflite"  # of the detector, whose kernels of 1x1 are sparse


@pytest.fixture
def case(reference):
    """The reference of one variant: a file without weights, and the outputs of the original runtime."""
    stored = reference("blazepose")
    return lambda variant: {
        name.split("/")[1]: array for name, array in stored.items() if name.startswith(f"{variant}/")
    }


@pytest.mark.parametrize(("variant", "parameters"), [("lite", 1_363_089), ("full", 3_169_489), ("heavy", 13_751_073)])
def test_outputs_equal_the_original_runtime(case, variant, parameters):
    wanted = case(variant)
    found, params = convert_blazepose(parse_tflite(fill(wanted)))
    assert found == variant
    assert sum(array.size for array in jax.tree.leaves(params)) == parameters
    output = jax.jit(BlazePose(variant).apply)({"params": params}, image())
    given = {
        "landmarks": output.landmarks.reshape(1, -1),
        "world": output.world.reshape(1, -1),
        "presence": output.presence[:, None],
        "heat_maps": output.heat_maps[:, ::8, ::8],
        "mask": output.mask[:, ::8, ::8, None],
    }
    for name, array in given.items():
        assert array.shape == wanted[name].shape, name
        np.testing.assert_allclose(array, wanted[name], rtol=0, atol=1e-4, err_msg=name)
        assert np.std(wanted[name]) > 0.1 or name == "presence"
    sides = {stride: feature.shape[1:3] for stride, feature in output.features.items()}
    assert sides == {stride: (256 // stride,) * 2 for stride in (4, 8, 16, 32)}


def test_outputs_of_the_detector_equal_the_original_runtime(reference):
    wanted = reference("blazepose_detector")
    found, params = convert_blazepose(parse_tflite(fill(wanted)))
    assert found == "detector"
    assert sum(array.size for array in jax.tree.leaves(params)) == 2_965_314
    scores, points = jax.jit(BlazePoseDetector().apply)({"params": params}, 2 * image(224) - 1)
    centres = anchor_centres(224, 224)
    assert len(centres) == 2254
    places = {0: (4, 4), 2: (12, 4), 56: (4, 12), 1568: (8, 8), 1960: (16, 16), 2253: (208, 208)}
    assert {number: tuple(centres[number]) for number in places} == places
    np.testing.assert_allclose(scores, wanted["scores"][..., 0], rtol=0, atol=1e-4)
    from_centres = np.array(points)
    from_centres[:, :, [0, 2, 3, 4, 5]] -= centres[:, None]
    np.testing.assert_allclose(from_centres, wanted["points"].reshape(1, -1, 6, 2), rtol=0, atol=1e-3)
    assert np.std(wanted["scores"]) > 0.1
    assert np.std(wanted["points"]) > 0.1


def test_the_detector_finds_the_same_in_a_larger_image(reference):
    """Its layers are convolutions: away from the border the surroundings do not matter."""
    _, params = convert_blazepose(parse_tflite(fill(reference("blazepose_detector"))))
    whole = np.tile(2 * image(224) - 1, (1, 2, 2, 1))
    scores, points = jax.jit(BlazePoseDetector().apply)({"params": params}, whole)
    assert scores.shape == (1, 4 * 2254)
    assert points.shape == (1, 4 * 2254, 6, 2)
    with pytest.raises(ValueError, match="multiples of 32"):
        jax.eval_shape(BlazePoseDetector().init, jax.random.key(0), whole[:, :100])


def test_parameters_of_the_module_are_those_of_the_file(case):
    for variant in SIZES:
        shapes = jax.eval_shape(BlazePose(variant).init, jax.random.key(0), image())["params"]
        _, params = convert_blazepose(parse_tflite(fill(case(variant))))
        assert jax.tree.map(np.shape, params) == jax.tree.map(lambda leaf: leaf.shape, dict(shapes))


def test_convert_writes_a_backbone(case, tmp_path):
    source = tmp_path / "pose_landmark_lite.tflite"
    source.write_bytes(fill(case("lite")))
    report = convert(source, tmp_path / "out")
    assert "BlazePose (lite)" in report
    described, params = load_network(tmp_path / "out", BACKBONE)
    assert described == {"name": "blazepose_lite"}
    _, wanted = convert_blazepose(read_tflite(source))
    assert jax.tree.all(jax.tree.map(np.array_equal, params["encoder"], wanted))
    with pytest.raises(ValueError, match="predicts no bodies"):
        load_for_inference(tmp_path / "out")


def test_operators_and_constants_of_a_file():
    graph = read_tflite(START)
    assert [operator.kind for operator in graph.operators][:3] == ["PAD", "CONV_2D", "DEPTHWISE_CONV_2D"]
    stem = graph.operators[1]
    assert stem.options == {"padding": "VALID", "stride": (2, 2), "activation": "relu6", "dilation": (1, 1)}
    kernel, bias = (graph.constants[number] for number in stem.inputs[1:])
    assert kernel.shape == (24, 3, 3, 3)
    assert kernel.dtype == bias.dtype == np.float32
    assert graph.constants[graph.operators[0].inputs[1]].tolist() == [[0, 0], [1, 1], [1, 1], [0, 0]]


def test_sparse_constants_are_filled_up():
    graph = read_tflite(SPARSE)
    assert [operator.kind for operator in graph.operators] == ["PAD", "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D"]
    kernel = graph.constants[graph.operators[3].inputs[1]]
    assert kernel.shape == (16, 1, 1, 24)
    assert kernel.dtype == np.float32
    assert np.count_nonzero(kernel) == 96  # of 384
    data = SPARSE.read_bytes()
    messages = set()
    for place in range(len(data)):
        for value in (0, 255):
            try:
                parse_tflite(data[:place] + bytes([value]) + data[place + 1 :])
            except ValueError as error:
                messages.add(str(error))
    for message in ("sparse in a way", "outside its rows", "outside its columns", "has indices of the type"):
        assert any(message in one for one in messages), message


def test_other_and_damaged_files_are_refused(tmp_path):
    whole = START.read_bytes()
    path = tmp_path / "file.tflite"
    cases = {
        "not a TensorFlow Lite file": whole[:4] + b"TFL2" + whole[8:],
        "cut off or damaged": whole[: len(whole) // 2],
        "offset": struct.pack("<I", 1 << 31) + whole[4:],
    }
    for message, data in cases.items():
        path.write_bytes(data)
        with pytest.raises(ValueError, match=message if message != "offset" else "damaged"):
            read_tflite(path)
        assert not (tmp_path / "out").exists()
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"not of BlazePose \(lite, full, heavy, detector\)"):
        convert(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_graphs_that_compute_something_else_are_refused(case):
    graph = parse_tflite(fill(case("lite")))
    kinds = [operator.kind for operator in graph.operators]
    resize, convolution = kinds.index("RESIZE_BILINEAR"), kinds.index("CONV_2D")
    kernel = graph.operators[convolution].inputs[1]

    def changed(index, **changes):
        operators = list(graph.operators)
        operators[index] = replace(operators[index], **changes)
        return replace(graph, operators=tuple(operators))

    others = [
        changed(resize, options={"align_corners": False, "half_pixel_centers": False}),
        changed(convolution, options=graph.operators[convolution].options | {"dilation": (2, 2)}),
        changed(convolution, inputs=graph.operators[convolution].inputs[:1]),
        replace(graph, constants=graph.constants | {kernel: graph.constants[kernel].astype(np.int8)}),
        replace(graph, operators=graph.operators[:-1]),
    ]
    for other in others:
        with pytest.raises(ValueError, match="not of BlazePose"):
            convert_blazepose(other)


def test_quantised_weights_are_refused():
    whole = START.read_bytes()
    messages = set()
    for place in range(len(whole)):
        if whole[place] == 1:  # where this is a tensor's type, float16 becomes int16
            try:
                parse_tflite(whole[:place] + b"\x07" + whole[place + 1 :])
            except ValueError as error:
                messages.add(str(error))
    assert "it is quantised: take the float version of the network." in messages


@pytest.mark.parametrize("shape", [(1, 64, 96, 3), (3, 8, 8, 3), (2, 6, 10, 1)])
def test_the_first_convolution_on_cpus_equals_that_of_xla(shape, monkeypatch):
    x, kernel = jax.random.normal(jax.random.key(0), shape), jax.random.normal(jax.random.key(1), (3, 3, shape[-1], 24))

    def convolve(x, kernel):
        return stem_convolution(x, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC"))

    results = []
    for plain in ("0", "1"):
        monkeypatch.setenv("HMR_JAX_PLAIN", plain)
        y, backward = jax.vjp(convolve, x, kernel)
        results.append((y, *backward(jnp.cos(y))))
    for mine, reference in zip(*results, strict=True):
        np.testing.assert_allclose(mine, reference, rtol=1e-4, atol=1e-4)


def test_other_images_and_variants_are_refused():
    for images in (image()[:, :224, :224], image()[0], (255 * image()).astype(np.uint8)):
        with pytest.raises(ValueError, match=r"takes images \(B, 256, 256, 3\) of floats in \[0, 1\]"):
            jax.eval_shape(BlazePose("lite").init, jax.random.key(0), images)
    with pytest.raises(ValueError, match="no variant 'large': choose lite, full, heavy"):
        jax.eval_shape(BlazePose("large").init, jax.random.key(0), image())
