"""Networks as ONNX: every operation gives what JAX gives, at any batch size, and onnxruntime runs the whole network."""

import dataclasses
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from tiny import D2A, MODEL, config, d2a_config, random_parameters

from hmr_jax.batch import zeros
from hmr_jax.checkpoints import SHIPPED_MODEL
from hmr_jax.checkpoints import export as export_folder
from hmr_jax.config import DataConfig, EncoderConfig
from hmr_jax.export import export_network, load_network, onnx_file, onnx_graph, parity
from hmr_jax.export.onnx_graph import Graph
from hmr_jax.export.onnx_jaxpr import convert
from hmr_jax.models import build_model

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

RNG = np.random.default_rng(0)
MATRIX = RNG.standard_normal((6, 5)).astype(np.float32)
KERNEL = RNG.standard_normal((3, 3, 2, 4)).astype(np.float32)
DEPTHWISE = RNG.standard_normal((3, 3, 1, 4)).astype(np.float32)


def converted(function, *shapes):
    """A function of arrays (b, *shape) in onnxruntime."""
    (batch,) = export.symbolic_shape("b")
    inputs = [jax.ShapeDtypeStruct((batch, *shape), jnp.float32) for shape in shapes]
    closed = jax.make_jaxpr(function)(*inputs)
    graph = Graph(batch)
    given = [graph.input(f"x{i}", one.shape, one.dtype) for i, one in enumerate(inputs)]
    for number, (value, one) in enumerate(
        zip(convert(graph, closed.jaxpr, [np.asarray(c) for c in closed.consts], given), closed.out_avals, strict=True)
    ):
        graph.output(f"y{number}", value, one.shape, one.dtype)
    model = graph.model("test", onnx_file.OPSET, onnx_file.IR_VERSION)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda *arrays: session.run(None, {f"x{i}": array for i, array in enumerate(arrays)})


def blocks(x):
    return x.reshape(x.shape[0], 2, 3, 4)


CASES = {
    "products with a matrix": (lambda x: x @ MATRIX, (6,)),
    "products of batches": (lambda x: jnp.einsum("bhij,bhkj->bhik", blocks(x), blocks(x) + 1), (24,)),
    "products over two axes": (lambda x: jnp.einsum("bhij,hjk->bik", blocks(x), jnp.ones((2, 4, 5)) / 7), (24,)),
    "products with the batch on the right": (lambda x: jnp.einsum("kn,bnc->bkc", MATRIX[:, :3], x[:, :3]), (6, 2)),
    "products of all axes": (lambda x: jnp.einsum("bi,bi->b", x, jnp.sin(x)), (6,)),
    "convolutions": (
        lambda x: jax.lax.conv_general_dilated(
            x, KERNEL, (2, 1), [(1, 0), (2, 1)], rhs_dilation=(1, 2), dimension_numbers=("NHWC", "HWIO", "NHWC")
        ),
        (9, 8, 2),
    ),
    "convolutions of each channel": (
        lambda x: jax.lax.conv_general_dilated(
            x, DEPTHWISE, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=4
        ),
        (5, 6, 4),
    ),
    "maxima of windows": (
        lambda x: jax.lax.reduce_window(
            x, -jnp.inf, jax.lax.max, (1, 3, 2, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (0, 1), (0, 0))
        ),
        (7, 8, 3),
    ),
    "rows at known places": (lambda x: x[:, np.array([[4, 0], [1, 1], [-1, 2]])], (5, 3)),
    "parts": (lambda x: jnp.concatenate([x[:, 1:7:2], x[:, -3:], x[:, 2][:, None]], 1), (8, 2)),
    "a place of two axes": (lambda x: x[:, 1, 2], (3, 4)),
    "padding": (lambda x: jnp.pad(x, ((0, 0), (1, 2), (0, 3)), constant_values=2.5), (2, 3)),
    "sums, maxima and means": (lambda x: (x.sum(1), x.max((1, 2)), x.min(2), x.mean(), x.var(1)), (4, 3)),
    "broadcasts": (
        lambda x: (jnp.broadcast_to(MATRIX[0], (x.shape[0], 5)), jnp.ones_like(x) + jnp.arange(5.0), jnp.full((3,), 2)),
        (5,),
    ),
    "broadcasts that are reduced": (lambda x: jnp.broadcast_to(x[:, None], (x.shape[0], 7, 4)).sum(1), (4,)),
    "choices": (lambda x: jnp.where((x > 0.1) & (x != 1) | ~(x <= 0.5), x, jnp.clip(-x, 0.2, 0.4)), (30,)),
    "powers and roots": (
        lambda x: x**2 + x**3 + abs(x) ** 0.3 + jax.lax.rsqrt(1 + x * x) + jnp.sqrt(abs(x)) + x**-2, (9,)
    ),
    "functions": (
        lambda x: jnp.exp(x) + jnp.log(2 + abs(x)) + jnp.sin(x) * jnp.cos(x) - jnp.tanh(x) / jax.nn.sigmoid(x)
        + jax.lax.erf(x) + jnp.floor(5 * x) + jnp.sign(x) + jax.nn.relu6(x),
        (9,),
    ),
    "other types": (lambda x: (10 * x).astype(jnp.int32).astype(jnp.float32) + (x > 0).astype(jnp.float32), (20,)),
    "stacks, transposes and moved axes": (lambda x: jnp.stack([x, 2 * x], 1).swapaxes(1, 2).reshape(-1, 3), (4, 3)),
    "enlarged maps": (lambda x: jax.image.resize(x, (x.shape[0], 6, 8, 2), "linear"), (3, 4, 2)),
    "loops over rows": (
        lambda x: jax.lax.scan(
            lambda c, row: (c * 0.5 + row[0] @ row[1], c[:, :2]), x, (jnp.stack([x, 2 * x]), np.ones((2, 4, 4), "f"))
        ),
        (4,),
    ),
    "loops from the end": (
        lambda x: jax.lax.scan(lambda c, row: (c * row, c + row), x, np.float32([[1], [2], [3]]), reverse=True), (4,)
    ),
    "softmax": (lambda x: jax.nn.softmax(3 * x, -1), (4, 7)),
    "what holds on other platforms": (
        lambda x: jax.lax.platform_dependent(x, cpu=lambda x: x + 1, default=lambda x: x + 2), (3,)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operations_equal_those_of_jax(name):
    if name.startswith("loops") and jax.__version_info__ >= (0, 11):
        pytest.skip("this jax describes loops in another way")
    function, shape = CASES[name]
    run = converted(function, shape)
    for size in (1, 3):
        x = RNG.standard_normal((size, *shape)).astype(np.float32)
        wanted = jax.tree.leaves(function(x))
        if name == "what holds on other platforms":
            wanted = [x + 2]
        for found, one in zip(run(x), wanted, strict=True):
            assert found.shape == one.shape
            np.testing.assert_allclose(found, one, atol=2e-5, rtol=2e-5)


def test_constants_that_are_exact_in_half_precision_are_stored_in_it():
    exact, inexact = np.arange(2000, dtype=np.float32), np.arange(2000, dtype=np.float32) / 3
    (batch,) = export.symbolic_shape("b")
    graph = Graph(batch)
    x = graph.input("x", (batch, 2000), np.float32)
    y = graph.node("Add", [graph.node("Mul", [x, exact], x.shape, x.dtype), inexact], x.shape, x.dtype)
    graph.output("y", y, x.shape, x.dtype)
    model = graph.model("test", onnx_file.OPSET, onnx_file.IR_VERSION)
    types = sorted(tensor.data_type for tensor in model.graph.initializer)
    assert types == [onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16]
    (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": np.ones((1, 2000), np.float32)})
    np.testing.assert_array_equal(found, [exact + inexact])


def test_what_no_output_depends_on_is_left_out():
    run_all = converted(lambda x: (jnp.exp(x), x @ MATRIX)[0], (6,))
    np.testing.assert_allclose(run_all(np.ones((1, 6), np.float32))[0], np.full((1, 6), np.e), rtol=1e-6)
    (batch,) = export.symbolic_shape("b")
    graph = Graph(batch)
    x = graph.input("x", (batch, 6), np.float32)
    graph.node("MatMul", [x, MATRIX], (batch, 5), np.float32)
    graph.output("y", x, x.shape, x.dtype)
    model = graph.model("test", onnx_file.OPSET, onnx_file.IR_VERSION)
    assert [node.op_type for node in model.graph.node] == ["Identity"]
    assert not model.graph.initializer


@pytest.fixture(scope="module")
def network(tiny_checkpoint):
    return load_network(tiny_checkpoint)


@pytest.fixture(scope="module")
def written(network, tmp_path_factory):
    return export_network(network, "onnx", tmp_path_factory.mktemp("exported") / "tiny.onnx")


def test_the_file_equals_the_network_at_each_batch_size(written):
    assert {"vertices", "keypoints_2d", "camera", "betas", "body_pose", "sampling_points"} <= set(written.parity)
    assert all(len(values) == len(parity.BATCHES) for values in written.parity.values())
    assert max(max(values) for values in written.parity.values()) < parity.TOLERANCE


def test_the_file_says_what_it_is_and_its_batch_is_open(written, network):
    model = onnx.load(written.path)
    header = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert header["format"] == "hmr_jax onnx"
    assert header["parameters_hash"] == network.parameters_hash
    assert np.shape(header["faces"]) == (len(network.body.faces), 3)
    assert len(header["keypoint_names"]) == 44
    session = onnxruntime.InferenceSession(written.path)
    assert [(one.name, one.type, one.shape) for one in session.get_inputs()] == [
        ("image", "tensor(uint8)", ["b", 32, 32, 3])
    ]
    shapes = {one.name: one.shape for one in session.get_outputs()}
    assert shapes["keypoints_2d"] == ["b", 44, 2]
    assert shapes == {name: one["shape"] for name, one in header["outputs"].items()}


def variant(own, tmp_path, name, scale=0.1):
    """A checkpoint of a configuration, with positive random parameters."""
    model = build_model(own.model)
    shapes = jax.eval_shape(model.init, jax.random.key(0), zeros(1, own.data.crop_size))
    rng = np.random.default_rng(0)
    groups = shapes["params"] | ({"batch_stats": shapes["batch_stats"]} if "batch_stats" in shapes else {})
    params = jax.tree.map(lambda leaf: (scale * np.abs(rng.standard_normal(leaf.shape))).astype(np.float32), groups)
    export_folder(tmp_path / name, own, params)
    return load_network(tmp_path / name)


VARIANTS = {
    "one token, plain attention, a convolutional encoder": config(
        "unused",
        model=dataclasses.replace(
            MODEL, encoder=EncoderConfig(name="conv", image_size=(32, 32), dim=16), uncertainty=True,
            decoder=dataclasses.replace(MODEL.decoder, queries="single", attention="plain"),
        ),
    ),
    "sampling by reading neighbours": config(
        "unused", model=dataclasses.replace(MODEL, decoder=dataclasses.replace(MODEL.decoder, sampling="gather"))
    ),
    "ResNet": config(
        "unused", model=dataclasses.replace(MODEL, encoder=EncoderConfig(name="resnet50", image_size=(32, 32)))
    ),
    "one stream for depth and images": d2a_config(
        "unused", model=dataclasses.replace(D2A, d2a=dataclasses.replace(D2A.d2a, head="smpl", depth_stream="shared"))
    ),
    "depth, with body parameters": d2a_config(
        "unused", model=dataclasses.replace(D2A, d2a=dataclasses.replace(D2A.d2a, head="smpl"))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_other_networks_have_an_onnx_form_too(name, tmp_path):
    network = variant(VARIANTS[name], tmp_path, "variant", 0.01 if name == "ResNet" else 0.1)  # larger ones overflow
    written = export_network(network, "onnx", tmp_path / "a.onnx")
    assert max(max(values) for values in written.parity.values()) < parity.TOLERANCE


def test_an_encoder_with_landmarks_gives_them(tmp_path):
    landmark = dataclasses.replace(
        MODEL, encoder=EncoderConfig(name="blazepose_full", image_size=(256, 256)),
        decoder=dataclasses.replace(MODEL.decoder, landmarks=True, feature_dim=16),
    )  # fmt: skip
    own = config("unused", model=landmark, data=DataConfig(crop_size=256))
    params = {name: group for name, group in random_parameters(own).items() if name != "encoder"}
    export_folder(tmp_path / "landmarks", own, params)
    written = export_network(load_network(tmp_path / "landmarks"), "onnx", tmp_path / "a.onnx")
    assert max(written.parity["landmarks"]) < parity.TOLERANCE


def test_an_operation_without_a_counterpart_is_named(tmp_path):
    network = variant(d2a_config("unused"), tmp_path, "deep")  # its pose is fitted to vertices, by a loop
    with pytest.raises(
        ValueError, match=r"The network has the operation '\w+', which has no ONNX form here: export to"
    ):
        export_network(network, "onnx", tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_more_parameters_than_a_file_holds_are_refused(network, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_graph, "_LARGEST", 1000)
    with pytest.raises(ValueError, match="more than 2 GB, which no ONNX file holds: export to stablehlo"):
        export_network(network, "onnx", tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_one_sentence(network, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"`pip install 'hmr_jax\[export\]'`"):
        export_network(network, "onnx", tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_file_is_not_replaced(network, tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(b"\x08\x07 something")
    with pytest.raises(FileExistsError, match="is no onnx of hmr_jax: choose another --output"):
        export_network(network, "onnx", path)


@pytest.mark.slow
def test_the_shipped_model_equals_its_onnx(tmp_path):
    written = export_network(load_network(SHIPPED_MODEL), "onnx", tmp_path / "a.onnx")
    assert max(max(values) for values in written.parity.values()) < parity.TOLERANCE
