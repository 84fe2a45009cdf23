"""The deformable layer reproduces DAT, and ordinary attention where its offsets are zero."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from hmr_jax.config import DecoderConfig
from hmr_jax.models.attention import Attention
from hmr_jax.models.decoder import Decoder
from hmr_jax.models.deformable import DeformableCrossAttention, reference_grid
from hmr_jax.models.heads import MULTI_TOKENS, SMPLHead
from hmr_jax.ops import depthwise_convolution
from hmr_jax.ops.cpu import portable
from hmr_jax.weights import convert_hmr2_head


def dat_parameters(case):
    """DAT's state dict as our parameters: its offsets are computed from its queries, so both share the projection."""

    def point_wise(name):
        return {"kernel": case[f"weights/{name}.weight"][..., 0, 0].T, "bias": case[f"weights/{name}.bias"]}

    return {
        "offset_proj": point_wise("proj_q"),
        "query": point_wise("proj_q"),
        "key": point_wise("proj_k"),
        "value": point_wise("proj_v"),
        "out": point_wise("proj_out"),
        "offsets": {
            "depthwise": {
                "kernel": case["weights/conv_offset.0.weight"].transpose(2, 3, 1, 0),
                "bias": case["weights/conv_offset.0.bias"],
            },
            "norm": {
                "scale": case["weights/conv_offset.1.norm.weight"],
                "bias": case["weights/conv_offset.1.norm.bias"],
            },
            "offset": {"kernel": case["weights/conv_offset.3.weight"][::-1, :, 0, 0].T},  # y, x -> x, y
        },
    }


@pytest.mark.parametrize("sampling", ["matmul", "gather"])
@pytest.mark.parametrize("name", ["dat_attention_a", "dat_attention_b"])
def test_layer_fed_as_dat_reproduces_it(reference, name, sampling):
    case = reference(name)
    x = case["x"]
    batch, height, width, channels = x.shape
    layer = DeformableCrossAttention(
        int(case["num_heads"]), int(case["head_dim"]), channels, int(case["num_groups"]), int(case["kernel_size"]),
        int(case["stride"]), float(case["offset_range_factor"]), "dat", normalize_features=False, use_bias=True,
        key_position_code=False, sampling=sampling,
    )  # fmt: skip
    y, (points, _, _) = jax.jit(layer.apply)({"params": dat_parameters(case)}, x.reshape(batch, -1, channels), x)
    np.testing.assert_allclose(y.reshape(x.shape), case["y"], atol=2e-5 * np.abs(case["y"]).max())
    expected = (case["pos_yx"][..., ::-1] + 1) / 2 * np.array([width - 1, height - 1])
    np.testing.assert_allclose(points, expected.reshape(points.shape), atol=2e-5 * 16)


def dat_in_numpy(case, x, kernel, stride, factor, heads, groups):
    """DAT's layer, written anew from its description with loops over the points; (B, H, W, C) like `x`."""
    batch, height, width, channels = x.shape
    pad, c = 0 if kernel == stride else kernel // 2, channels // groups

    def point_wise(name, maps):
        return maps @ case[f"weights/{name}.weight"][..., 0, 0].T + case[f"weights/{name}.bias"]

    q = point_wise("proj_q", x)
    padded = np.pad(q, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    rows, columns = ((side + 2 * pad - kernel) // stride + 1 for side in (height, width))
    weights = np.concatenate([case["weights/conv_offset.0.weight"][:, 0]] * groups)  # (C, k, k)
    out = np.empty((batch, rows, columns, channels))
    for i, j in np.ndindex(rows, columns):
        window = padded[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
        out[:, i, j] = np.einsum("bhwc,chw->bc", window, weights) + np.tile(case["weights/conv_offset.0.bias"], groups)
    out = out.reshape(batch, rows, columns, groups, c)
    out = (out - out.mean(-1, keepdims=True)) / np.sqrt(out.var(-1, keepdims=True) + 1e-5)
    out = out * case["weights/conv_offset.1.norm.weight"] + case["weights/conv_offset.1.norm.bias"]
    out = out * (1 + erf(out / np.sqrt(2))) / 2
    offset = out @ case["weights/conv_offset.3.weight"][..., 0, 0].T  # (B, h, w, G, 2), y and x in [-1, 1]
    lines = [np.linspace(0.5, count - 0.5, count) / (count - 1) * 2 - 1 for count in (rows, columns)]
    grid = np.stack(np.meshgrid(*lines, indexing="ij"), -1)[:, :, None]
    if factor >= 0:
        position = grid + factor * np.tanh(offset) / np.array([rows - 1, columns - 1])
    else:
        position = np.clip(grid + offset, -1, 1)
    place = (position + 1) / 2 * np.array([height - 1, width - 1])
    sampled = np.zeros((batch, rows * columns, channels))
    for b, i, j, g in np.ndindex(batch, rows, columns, groups):
        y, x0 = place[b, i, j, g]
        for row, column in ((int(np.floor(y)) + dy, int(np.floor(x0)) + dx) for dy in (0, 1) for dx in (0, 1)):
            if 0 <= row < height and 0 <= column < width:
                share = (1 - abs(y - row)) * (1 - abs(x0 - column))
                sampled[b, i * columns + j, g * c : g * c + c] += share * x[b, row, column, g * c : g * c + c]
    split = lambda maps: maps.reshape(batch, -1, heads, channels // heads)  # noqa: E731
    query, key, value = split(q), split(point_wise("proj_k", sampled)), split(point_wise("proj_v", sampled))
    logits = np.einsum("bqmd,bkmd->bmqk", query, key) / np.sqrt(channels // heads)
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    mixed = np.einsum("bmqk,bkmd->bqmd", shares, value).reshape(x.shape)
    return point_wise("proj_out", mixed), place


@pytest.mark.parametrize(
    ("kernel", "stride", "factor", "size"),
    [
        (3, 2, -1, (16, 12)),  # the reference itself
        (2, 2, 2, (7, 5)), (2, 2, -1, (7, 6)), (3, 3, 2, (8, 10)), (4, 4, -1, (11, 9)),  # maps that are not divided
        (2, 1, 2, (5, 4)), (4, 1, -1, (6, 5)), (4, 2, 2, (7, 6)), (6, 4, 2, (9, 11)), (2, 3, -1, (7, 9)),  # even
        (5, 2, 2, (7, 5)), (1, 2, 2, (5, 7)),
    ],
)  # fmt: skip
def test_any_kernel_stride_and_map_is_that_of_dat(reference, kernel, stride, factor, size):
    case, rng = dict(reference("dat_attention_b")), np.random.default_rng(kernel)
    heads, groups, x = int(case["num_heads"]), int(case["num_groups"]), case["x"]
    if kernel != 3 or size != (16, 12):
        x = rng.standard_normal((2, *size, x.shape[-1])).astype(np.float32)
        shape = (x.shape[-1] // groups, 1, kernel, kernel)
        case["weights/conv_offset.0.weight"] = rng.standard_normal(shape).astype(np.float32) / kernel
    wanted, place = dat_in_numpy(case, x, kernel, stride, factor, heads, groups)
    if size == (16, 12):
        np.testing.assert_allclose(wanted, case["y"], atol=2e-5 * np.abs(wanted).max())
    channels = x.shape[-1]
    layer = DeformableCrossAttention(
        heads, channels // heads, channels, groups, kernel, stride, float(factor), "dat", normalize_features=False,
        use_bias=True, key_position_code=False,
    )  # fmt: skip
    y, (points, _, _) = jax.jit(layer.apply)({"params": dat_parameters(case)}, x.reshape(2, -1, channels), x)
    np.testing.assert_allclose(points, place[..., ::-1].transpose(0, 3, 1, 2, 4).reshape(points.shape), atol=2e-4)
    np.testing.assert_allclose(y.reshape(x.shape), wanted, atol=2e-4 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("kernel", "stride", "size", "first", "last"),
    [(2, 2, 7, 0.5, 4.5), (3, 3, 8, 1, 4), (2, 1, 5, -0.5, 4.5), (4, 2, 8, -0.5, 7.5), (3, 2, 5, 0.5, 4.5)],
)  # fmt: skip
def test_the_grid_of_cells_is_centred_on_what_the_convolution_sees(kernel, stride, size, first, last):
    features = jnp.ones((1, size, size, 4))
    layer = DeformableCrossAttention(1, 4, 4, groups=1, kernel=kernel, stride=stride)
    variables = jax.jit(layer.init)(jax.random.key(0), jnp.zeros((1, 2, 4)), features)
    y, (points, _, _) = jax.jit(layer.apply)(variables, jnp.zeros((1, 2, 4)), features)
    assert np.isfinite(y).all()
    np.testing.assert_allclose([points[0, 0, 0], points[0, 0, -1]], [[first] * 2, [last] * 2], atol=1e-6)


def test_a_map_smaller_than_the_kernel_is_refused_and_one_of_a_single_row_is_finite():
    layer = DeformableCrossAttention(1, 4, 4, groups=1, kernel=4, stride=4)
    with pytest.raises(ValueError, match=r"A kernel of 4 with a stride of 4 does not fit \(3, 8\) cells"):
        layer.init(jax.random.key(0), jnp.zeros((1, 2, 4)), jnp.ones((1, 3, 8, 4)))
    layer = DeformableCrossAttention(1, 4, 4, groups=1, kernel=3)
    y, _ = layer.init_with_output(jax.random.key(0), jnp.zeros((1, 2, 4)), jnp.ones((1, 1, 8, 4)))[0]
    assert np.isfinite(y).all()


def test_dat_grid_equals_reference(reference):
    for name in ("dat_attention_a", "dat_attention_b"):
        case = reference(name)
        points, _ = reference_grid(16, 12, int(case["stride"]), "dat")
        expected = (case["reference_yx"][0, 0, ..., ::-1] + 1) / 2 * np.array([11, 15])
        np.testing.assert_allclose(points, expected.reshape(-1, 2), atol=1e-5)


def test_zero_offsets_equal_plain_cross_attention():
    queries, features = (
        jax.random.normal(jax.random.key(0), (2, 5, 24)),
        jax.random.normal(jax.random.key(1), (2, 6, 4, 16)),
    )
    layer = DeformableCrossAttention(4, 8, 24, groups=2, key_position_code=False)
    params = jax.jit(layer.init)(jax.random.key(2), queries, features)["params"]
    assert not np.any(params["offsets"]["offset"]["kernel"])
    deformed, (points, _, _) = jax.jit(layer.apply)({"params": params}, queries, features)
    plain = jax.jit(Attention(4, 8, use_bias=False).apply)(
        {"params": {name: params[name] for name in ("query", "key", "value", "out")}},
        queries,
        features.reshape(2, -1, 16),
    )
    np.testing.assert_allclose(deformed, plain, atol=1e-6)
    np.testing.assert_array_equal(points[0, 1, 5], [1, 1])


def test_stride_two_grid_lies_between_the_cells():
    points, _ = reference_grid(4, 6, 2)
    np.testing.assert_array_equal(points, [[0.5, 0.5], [2.5, 0.5], [4.5, 0.5], [0.5, 2.5], [2.5, 2.5], [4.5, 2.5]])


@pytest.mark.parametrize(("offset_range", "bound"), [(2.0, 1.0), (4.0, 2.0), (-1.0, np.inf)])
def test_offsets_stay_in_their_range_and_inside_when_unbounded(offset_range, bound):
    features = 50 * jax.random.normal(jax.random.key(0), (1, 8, 6, 16))
    layer = DeformableCrossAttention(2, 8, 16, groups=2, offset_range=offset_range)
    params = jax.jit(layer.init)(jax.random.key(1), jnp.zeros((1, 3, 16)), features)["params"]
    params["offsets"]["offset"]["kernel"] = 9 * jax.random.normal(jax.random.key(2), (8, 2))
    _, (points, _, _) = jax.jit(layer.apply)({"params": params}, jnp.zeros((1, 3, 16)), features)
    moved = np.abs(points - reference_grid(8, 6, 1)[0])
    assert moved.max() > 0.5
    assert moved.max() <= bound + 1e-5
    if offset_range < 0:
        assert points.min() >= 0
        assert (points <= jnp.array([5.0, 7.0])).all()


@pytest.mark.parametrize("queries", ["multi", "single"])
@pytest.mark.parametrize("attention", ["deformable", "plain"])
def test_every_row_of_the_ablation_is_the_same_decoder(queries, attention):
    config = DecoderConfig(
        queries, attention, dim=32, depth=2, num_heads=4, head_dim=8, mlp_dim=32, offset_groups=2, position_bias=True
    )
    tokens = MULTI_TOKENS if queries == "multi" else 1
    decoder = Decoder(config, tokens)
    features = jax.random.normal(jax.random.key(0), (3, 4, 3, 16))
    variables = jax.jit(decoder.init)(jax.random.key(1), features)
    out, points = jax.jit(decoder.apply)(variables, features)
    assert out.shape == (3, tokens, 32)
    assert (points is None) == (attention == "plain")
    if points is not None:
        assert points.shape == (3, 2, 2, 12, 2)


@pytest.mark.parametrize("shared", [True, False])
def test_offsets_are_of_one_network_or_of_each_layer(shared):
    config = DecoderConfig(dim=32, depth=3, num_heads=4, head_dim=8, mlp_dim=32, offset_groups=2, share_offsets=shared)
    decoder = Decoder(config, 2)
    features = jax.random.normal(jax.random.key(0), (1, 4, 3, 16))
    params = jax.jit(decoder.init)(jax.random.key(1), features)["params"]
    networks = [params[f"layer_{i}"]["cross_attention"].get("offsets") for i in range(3)]
    assert [network is not None for network in networks] == [True, not shared, not shared]
    for i, network in enumerate(filter(None, networks)):
        network["offset"]["kernel"] = jax.random.normal(jax.random.key(i), (16, 2))
    _, points = jax.jit(decoder.apply)({"params": params}, features)
    assert np.array_equal(points[:, 0], points[:, 2]) == shared


def test_groups_that_do_not_divide_are_refused():
    config = DecoderConfig(dim=32, depth=1, num_heads=4, head_dim=8, offset_groups=3)
    with pytest.raises(ValueError, match="3 offset groups"):
        Decoder(config, 2).init(jax.random.key(1), jnp.ones((1, 4, 3, 16)))


def test_single_query_plain_decoder_is_the_hmr2_head(reference):
    case = reference("hmr2_head")
    state = {name.removeprefix("weights/"): value for name, value in case.items() if name.startswith("weights/")}
    config = DecoderConfig(
        "single", "plain", int(case["dim"]), int(case["depth"]), int(case["num_heads"]), int(case["head_dim"]),
        int(case["mlp_dim"]),
    )  # fmt: skip
    params = convert_hmr2_head(state)
    tokens, _ = jax.jit(Decoder(config, 1).apply)({"params": params["decoder"]}, case["features"])
    rotations, betas, camera = jax.jit(SMPLHead().apply)({"params": params["head"]}, tokens)
    np.testing.assert_allclose(rotations[:, :1], case["global_orient"], atol=2e-5)
    np.testing.assert_allclose(rotations[:, 1:], case["body_pose"], atol=2e-5)
    np.testing.assert_allclose(betas, case["betas"], atol=2e-5)
    np.testing.assert_allclose(camera, case["cam"], atol=2e-5)


@pytest.mark.parametrize(("kernel", "stride", "pad"), [(5, 1, 2), (3, 2, 1), (5, 3, 2), (2, 2, 0)])
def test_the_convolution_of_cpus_equals_that_of_accelerators_with_gradients(monkeypatch, kernel, stride, pad):
    x = jax.random.normal(jax.random.key(0), (2, 8, 6, 3, 4))
    weights = jax.random.normal(jax.random.key(1), (kernel, kernel, 1, 4))
    results = []
    for plain, exported in (("0", False), ("0", True), ("1", False)):  # the kernel, exported code, that of accelerators
        monkeypatch.setenv("HMR_JAX_PLAIN", plain)
        with portable() if exported else contextlib.nullcontext():
            y, backward = jax.vjp(lambda x, w: depthwise_convolution(x, w, stride, pad), x, weights)
            results.append((y, *backward(jax.random.normal(jax.random.key(2), y.shape))))
    for mine, exported_one, reference in zip(*results, strict=True):
        np.testing.assert_allclose(mine, reference, atol=2e-4)
        np.testing.assert_allclose(exported_one, reference, atol=2e-4)


def test_a_kernel_of_other_channels_is_refused():
    with pytest.raises(ValueError, match=r"does not fit features .*must be \(k, k, 1, 4\)"):
        depthwise_convolution(jnp.zeros((2, 8, 6, 3, 4)), jnp.zeros((3, 3, 1, 5)))
