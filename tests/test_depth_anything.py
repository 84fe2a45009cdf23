"""Depth Anything equals transformers' implementation, in both dialects, from the image to the map."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest
from by_rule import made_by_rule

from hmr_jax.checkpoints import converted
from hmr_jax.config import to_dict
from hmr_jax.config.depth_anything import DepthAnythingConfig
from hmr_jax.depth.network import DepthNetwork
from hmr_jax.depth.providers import depth_provider
from hmr_jax.depth.resizing import network_size, prepare, resize_linear
from hmr_jax.models.backbones.dinov2 import resize_positions
from hmr_jax.models.depth_anything import resize_bilinear
from hmr_jax.ops.imagenet import IMAGENET_MEAN, IMAGENET_STD
from hmr_jax.weights import convert_depth_anything, convert_state
from hmr_jax.weights.detect import Options

DATA = Path(__file__).parent / "data"
CONFIG = DepthAnythingConfig(
    dim=24, depth=4, num_heads=2, grid=5, taps=(0, 1, 2, 3), neck_dims=(8, 12, 16, 20), fusion_dim=8, head_dim=6,
    position_offset=0.0, size=70,
)  # fmt: skip


def state_of(case) -> dict[str, np.ndarray]:
    state = made_by_rule(case["names"], case["shapes"])
    state["head.conv3.bias"][:] = 1
    return state


@pytest.fixture
def case(reference):
    case = reference("depth_anything")
    return case, state_of(case)


def original_names(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A state dict of transformers as the original code would have written it."""
    rules = [
        (r"^backbone\.embeddings\.cls_token", "pretrained.cls_token"),
        (r"^backbone\.embeddings\.mask_token", "pretrained.mask_token"),
        (r"^backbone\.embeddings\.position_embeddings", "pretrained.pos_embed"),
        (r"^backbone\.embeddings\.patch_embeddings\.projection", "pretrained.patch_embed.proj"),
        (r"^backbone\.encoder\.layer\.", "pretrained.blocks."),
        (r"\.attention\.output\.dense", ".attn.proj"),
        (r"\.layer_scale(\d)\.lambda1", r".ls\1.gamma"),
        (r"^backbone\.layernorm", "pretrained.norm"),
        (r"^neck\.reassemble_stage\.layers\.(\d)\.projection", r"depth_head.projects.\1"),
        (r"^neck\.reassemble_stage\.layers\.(\d)\.resize", r"depth_head.resize_layers.\1"),
        (r"^neck\.convs\.(\d)", lambda found: f"depth_head.scratch.layer{int(found[1]) + 1}_rn"),
        (r"^neck\.fusion_stage\.layers\.(\d)", lambda found: f"depth_head.scratch.refinenet{4 - int(found[1])}"),
        (r"\.residual_layer(\d)\.convolution(\d)", r".resConfUnit\1.conv\2"),
        (r"(refinenet\d)\.projection", r"\1.out_conv"),
        (r"^head\.conv1", "depth_head.scratch.output_conv1"),
        (r"^head\.conv2", "depth_head.scratch.output_conv2.0"),
        (r"^head\.conv3", "depth_head.scratch.output_conv2.2"),
    ]
    renamed = {}
    for name, array in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = array
    for name in [name for name in renamed if ".attention.attention.query." in name]:
        parts = [renamed.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        renamed[name.replace("attention.attention.query", "attn.qkv")] = np.concatenate(parts)
    return renamed


@pytest.fixture(scope="module")
def provider():
    case = dict(np.load(DATA / "depth_anything.npz"))
    return DepthNetwork(CONFIG, convert_depth_anything(state_of(case)), batch_size=2)


@pytest.mark.parametrize("width", [70, 84])  # the size it was trained for, and another
def test_depth_equals_transformers(case, provider, width):
    wanted = case[0][f"depth_{width}"]
    image = np.random.default_rng(width).standard_normal((1, 70, width, 3)).astype(np.float32)
    depth = provider._step(provider._params, np.repeat(image, 2, 0))
    np.testing.assert_allclose(depth, np.repeat(wanted, 2, 0), rtol=0, atol=1e-5 * wanted.max())


def test_both_dialects_give_the_same_parameters_and_their_own_resizing_of_positions(case):
    _, state = case
    original = original_names(state)
    assert not {name for name in original if name.startswith(("backbone", "neck", "head."))}
    hints = {"backbone_config": {"num_attention_heads": 2, "out_indices": [1, 2, 3, 4]}}
    one, two = convert_state(state, hints=hints), convert_state(original, Options(heads=2))
    jax.tree.map(np.testing.assert_array_equal, one.params, two.params)
    assert one.config == CONFIG
    assert two.config == DepthAnythingConfig(**{**vars(CONFIG), "position_offset": 0.1})
    assert len(one.dropped) == len(two.dropped) == 5  # the mask token, and a unit without an input


def test_a_missing_and_a_surplus_tensor_are_named(case):
    _, state = case
    less = {name: array for name, array in state.items() if name != "neck.convs.2.weight"}
    with pytest.raises(KeyError, match=r"no 'neck\.convs\.2\.weight': is it a Depth Anything network"):
        convert_depth_anything(less)
    with pytest.raises(ValueError, match=r"does not have: neck\.convs\.4\.weight"):
        convert_depth_anything(state | {"neck.convs.4.weight": np.zeros(3)})
    wrong = state | {"head.conv2.weight": np.zeros((6, 5, 3, 3), np.float32)}
    with pytest.raises(
        ValueError, match=r"'head\.conv2\.weight' has shape \(6, 5, 3, 3\); .* needs \('any', 4, 3, 3\)"
    ):
        convert_depth_anything(wrong)


@pytest.mark.parametrize("size", ["larger", "smaller"])
@pytest.mark.parametrize(("kind", "offset"), [("", 0.0), ("original_", 0.1)])
def test_positions_are_resized_as_by_pytorch(case, size, kind, offset):
    wanted = case[0][f"positions_{kind}{size}"].transpose(1, 2, 0)
    slots = np.random.default_rng(1).standard_normal((1, 3, 5, 5)).astype(np.float32)[0].transpose(1, 2, 0)
    np.testing.assert_allclose(resize_positions(slots, wanted.shape[:2], offset), wanted, atol=2e-6)
    assert resize_positions(slots, (5, 5), offset) is slots


def test_images_are_resized_as_by_opencv_and_maps_as_by_pytorch(case):
    case, _ = case
    image = np.random.default_rng(2).integers(0, 256, (1, 3, 25, 37)).astype(np.uint8)[0].transpose(1, 2, 0)
    wanted = (case["resized"] - IMAGENET_MEAN) / IMAGENET_STD
    # PyTorch computes positions in float32: 2e-6 px at 40 px, and values change by up to 4.4 per px.
    np.testing.assert_allclose(prepare(image, (28, 42)), wanted, atol=2e-5)
    channel = image[..., 0].astype(np.float32) / 255
    np.testing.assert_allclose(resize_linear(channel, (31, 40)), case["enlarged"], atol=1e-6)
    np.testing.assert_allclose(
        resize_bilinear(channel[None, ..., None], (31, 40))[0, ..., 0], case["enlarged"], atol=1e-6
    )


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((480, 640), (518, 686)),
        ((640, 480), (686, 518)),
        ((1080, 1920), (518, 924)),
        ((518, 518), (518, 518)),
        ((100, 30), (1722, 518)),
    ],
)
def test_sides_are_multiples_of_the_patch_and_at_least_518(size, wanted):
    assert network_size(size) == wanted


def test_the_provider_gives_maps_of_the_images_sizes_in_their_order(case, provider, tmp_path):
    _, state = case
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), np.uint8) for size in ((70, 70), (40, 50), (90, 90), (35, 35), (40, 50))]
    maps = provider.batch(images)
    assert [depth.shape for depth in maps] == [image.shape[:2] for image in images]
    assert {depth.dtype for depth in maps} == {np.dtype(np.float32)}
    for image, depth in zip(images, maps, strict=True):  # alone as in a batch
        np.testing.assert_allclose(provider(image), depth, atol=1e-5)
    np.testing.assert_allclose(
        provider._step(provider._params, np.stack([prepare(images[0], (70, 70))] * 2))[0], maps[0], atol=1e-5
    )
    assert provider.kind == "inverse"
    converted.save_converted(
        tmp_path / "depth", {converted.DEPTH_ANYTHING: to_dict(CONFIG)}, convert_depth_anything(state), {}
    )
    named = depth_provider(f"flax:{tmp_path / 'depth'}")
    assert named._network.config == CONFIG
    jax.tree.map(np.testing.assert_array_equal, named._network._params, provider._params)
    named._network = provider  # the same, compiled already
    (depth,) = named(images[:1], [tmp_path / "0.jpg"])
    assert depth.kind == "inverse"
    np.testing.assert_allclose(depth.values, maps[0], atol=1e-5)
    assert provider.batch([]) == []
    with pytest.raises(ValueError, match=r"Image 1 is float32\(4, 4, 3\)"):
        provider.batch([images[0], np.zeros((4, 4, 3), np.float32)])


@pytest.mark.parametrize(
    ("name", "max_depth", "hints", "wanted"),
    [
        ("depth_anything_v2_vits.pth", None, {}, 0.0),
        ("depth_anything_v2_metric_hypersim_vits.pth", 20.0, {}, 20.0),
        ("depth_anything_v2_metric_hypersim_vits.pth", 0.0, {}, 0.0),
        ("depth_anything_v2_metric_hypersim_vits.pth", None, {}, "give --max-depth, in metres"),
        ("depth_anything_v2_VKITTI_vitl.pth", None, {}, "give --max-depth, in metres"),
        ("Depth-Anything-V2-Metric-Indoor-Small/model.safetensors", None, {}, "give --max-depth, in metres"),
        ("a.pth", -1.0, {}, "positive"),
        ("a.pth", np.nan, {}, "positive"),
        ("Metric-hf", None, {"depth_estimation_type": "metric", "max_depth": 80}, 80.0),
        ("Metric-hf", None, {"depth_estimation_type": "relative", "max_depth": None}, 0.0),
        ("Small-hf", None, {"depth_estimation_type": "metric", "max_depth": None}, "give --max-depth, in metres"),
    ],
)
def test_a_metric_network_is_never_taken_for_one_of_inverse_depth(case, name, max_depth, hints, wanted):
    state = original_names(case[1])
    options = Options(heads=2, max_depth=max_depth)
    if isinstance(wanted, float):
        assert convert_state(state, options, hints | {"path": name}).config.max_depth == wanted
    else:
        with pytest.raises(ValueError, match=wanted):
            convert_state(state, options, hints | {"path": name})
