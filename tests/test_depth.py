"""Depth maps: read from any file without harm, normalised robustly, cut like the image, estimated by networks."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from hmr_jax.depth import DepthMap, crop_depth, normalize, read_depth, to_levels, write_depth
from hmr_jax.depth.providers import depth_provider
from hmr_jax.depth.resizing import network_size, prepare, resize_linear
from hmr_jax.geometry.crops import extract_crop

RAMP = np.linspace(1, 4, 20 * 30, dtype=np.float32).reshape(20, 30)


def test_normalised_depth_is_the_same_for_any_scale_and_shift_of_inverse_depth():
    scaled, has = normalize(RAMP, "inverse")
    assert has
    assert scaled.min() == 0
    assert scaled.max() == 1
    assert (np.diff(scaled.ravel()) >= 0).all()  # larger is nearer
    for changed in (3 * RAMP, RAMP + 5):
        np.testing.assert_allclose(normalize(changed, "inverse")[0], scaled, atol=1e-5)
    np.testing.assert_allclose(normalize(1 / RAMP, "metric")[0], scaled, atol=1e-5)
    outliers = RAMP.copy()
    outliers[0, :3], outliers[-1, -3:] = 1e-9, 1e9
    np.testing.assert_allclose(normalize(outliers, "inverse")[0], scaled, atol=0.02)


@pytest.mark.parametrize("fill", [0.0, 2.0, np.nan, np.inf, -1.0, "nearly nothing"])
def test_depth_that_says_nothing_is_missing(fill):
    values = np.zeros((20, 30))
    if fill == "nearly nothing":
        values[3, :4] = [1, 2, 3, 4]
    else:
        values[:] = fill
    scaled, has = normalize(DepthMap.from_values(values).values, "metric")
    assert not has
    np.testing.assert_array_equal(scaled, 0)


def test_numbers_that_are_no_depth_are_unknown_and_change_nothing_else():
    values = RAMP.astype(np.float64)
    values[0, :6] = np.nan, np.inf, -np.inf, -3, 1e300, 0
    depth = DepthMap.from_values(values)
    assert depth.values.dtype == np.float32
    np.testing.assert_array_equal(depth.values[0, :6], 0)
    np.testing.assert_array_equal(depth.values[1:], RAMP[1:])
    scaled, has = normalize(depth.values, "inverse")
    assert has
    assert np.isfinite(scaled).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((3, 4, 2)), r"shape \(3, 4, 2\); expected \(height, width\)"),
        (np.zeros(5), r"shape \(5,\)"),
        (np.zeros((0, 4)), r"shape \(0, 4\)"),
        (np.zeros((3, 4), complex), "complex128 and not real numbers"),
        (np.array([["a"]]), "not real numbers"),
    ],
)
def test_arrays_that_are_no_map_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        DepthMap.from_values(values)


def test_depth_is_cut_where_the_image_is():
    rng = np.random.default_rng(0)
    values = rng.uniform(1, 2, (40, 60)).astype(np.float32)
    center, side = np.array([50.0, 12.0]), 32.0  # beyond two edges; one pixel a pixel
    cut, has = crop_depth(DepthMap(values), center, side, 32)
    assert has
    levels = np.rint(255 * (values - 1)).astype(np.uint8)
    image = extract_crop(np.stack([levels] * 3, -1), center, side, 32)[..., 0]
    inside = extract_crop(np.full((40, 60, 3), 255, np.uint8), center, side, 32)[..., 0] == 255
    assert 0 < inside.mean() < 1
    assert not cut[~inside].any()
    low, high = np.percentile(values[:28, 34:], [2, 98])
    expected = np.clip((image[inside] / 255 + 1 - low) / (high - low), 0, 1)
    np.testing.assert_allclose(cut[inside] / 255, expected, atol=0.01)
    assert crop_depth(None, center, side, 32)[1] is False


def test_files_read_back(tmp_path):
    write_depth(tmp_path / "a.npz", DepthMap(3 * RAMP), "test")
    inverse = read_depth(tmp_path / "a.npz")
    assert inverse.kind == "inverse"
    np.testing.assert_allclose(inverse.values, RAMP / 4, rtol=1e-3)
    write_depth(tmp_path / "b.npz", DepthMap(RAMP, "metric"), "test")
    assert read_depth(tmp_path / "b.npz").kind == "metric"
    np.testing.assert_allclose(read_depth(tmp_path / "b.npz").values, RAMP, rtol=1e-3)
    np.save(tmp_path / "c.npy", RAMP[None].astype(np.float16))
    np.testing.assert_allclose(read_depth(tmp_path / "c.npy", "metric").values, RAMP, rtol=1e-3)
    levels = np.rint(1000 * RAMP).astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / "d.png")
    np.testing.assert_array_equal(read_depth(tmp_path / "d.png").values, levels)
    assert not list(tmp_path.glob(".*"))  # nothing half written is left


def test_files_that_hold_no_depth_are_named_with_a_reason(tmp_path):
    def refused(name, message, error=ValueError):
        with pytest.raises(error, match=message) as caught:
            read_depth(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)

    refused("none.npz", "There is no depth file", FileNotFoundError)
    np.savez(tmp_path / "a.npz", disparity=RAMP)
    refused("a.npz", "holds disparity; expected 'depth'")
    np.savez(tmp_path / "b.npz", depth=RAMP, kind="log")
    refused("b.npz", "unknown kind 'log': use inverse or metric")
    np.save(tmp_path / "c.npy", np.array([{}], object), allow_pickle=True)
    refused("c.npy", "cannot be read as a depth map")
    Image.new("RGB", (4, 4)).save(tmp_path / "d.png")
    refused("d.png", "PNG of mode RGB; depth needs one grey channel of 16 bits")
    (tmp_path / "e.exr").write_bytes(b"x")
    refused("e.exr", "must be .npz, .npy or 16-bit .png")


def test_damaged_files_are_refused_in_one_sentence_and_never_crash(tmp_path):
    write_depth(tmp_path / "good.npz", DepthMap(RAMP), "test")
    np.save(tmp_path / "good.npy", RAMP)
    Image.fromarray((1000 * RAMP).astype(np.uint16)).save(tmp_path / "good.png")
    rng = np.random.default_rng(0)
    refusals = []
    for suffix in (".npz", ".npy", ".png"):
        good = (tmp_path / f"good{suffix}").read_bytes()
        for trial in range(60):
            data = bytearray(good)
            if trial % 3 == 0:
                data = data[: rng.integers(len(data))]
            elif trial % 3 == 1:
                for place in rng.integers(len(data), size=rng.integers(1, 9)):
                    data[place] = rng.integers(256)
            else:
                place, count = rng.integers(len(data)), rng.integers(1, 40)
                data[place : place + count] = rng.bytes(rng.integers(80))
            path = tmp_path / f"bad{suffix}"
            path.write_bytes(data)
            try:
                depth = read_depth(path)
                assert np.isfinite(depth.values).all()
                assert (depth.values >= 0).all()
            except ValueError as error:
                refusals.append(str(error))
    assert len(refusals) > 90
    assert all(message.startswith(str(tmp_path / "bad")) and "\n" not in message for message in refusals)


def test_a_file_that_claims_to_be_huge_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**7)})
    (tmp_path / "a.npy").write_bytes(header.getvalue())
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("depth.npy", header.getvalue())
    for name in ("a.npy", "b.npz"):
        with pytest.raises(ValueError, match="cannot be read as a depth map"):
            read_depth(tmp_path / name)


def test_disk_maps_are_found_by_the_name_of_the_image(tmp_path):
    np.save(tmp_path / "one.npy", RAMP)
    image = np.zeros((20, 30, 3), np.uint8)
    provider = depth_provider(str(tmp_path))
    one, two = provider([image, image], [tmp_path / "x" / "one.jpg", tmp_path / "two.jpg"])
    np.testing.assert_array_equal(one.values, RAMP)
    assert one.kind == "inverse"
    assert two is None
    (metric,) = depth_provider(f"disk-metric:{tmp_path / 'one.npy'}")([image], [tmp_path / "other.jpg"])
    assert metric.kind == "metric"
    with pytest.raises(ValueError, match=r"one\.npy is 30x20 but its image 20x30"):
        provider([image.swapaxes(0, 1)], [tmp_path / "one.jpg"])
    with pytest.raises(ValueError, match="depth of one image, not of 2"):
        depth_provider(str(tmp_path / "one.npy"))([image, image], [tmp_path / "one.jpg", tmp_path / "two.jpg"])


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("onx:net.onnx", ValueError, "'onx:net.onnx' names no depth provider; did you mean 'onnx'"),
        ("zoe:net", ValueError, "use disk, disk-metric, onnx, onnx-metric, flax, followed by :PATH"),
        ("nowhere", FileNotFoundError, "no depth file or folder nowhere; a provider is named NAME:PATH"),
        ("disk:nowhere", FileNotFoundError, "no depth file or folder nowhere"),
        ("onnx:nowhere", FileNotFoundError, "no ONNX file nowhere"),
    ],
)
def test_unknown_providers_and_paths_are_named(text, error, message):
    with pytest.raises(error, match=message):
        depth_provider(text)


def test_an_onnx_network_sees_the_whole_normalised_image(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    def save(name, height, width):
        """A network whose depth is the green channel plus 3."""
        nodes = [
            helper.make_node("Gather", ["image", "green"], ["channel"], axis=1),
            helper.make_node("Add", ["channel", "three"], ["depth"]),
        ]
        constants = [
            helper.make_tensor("green", TensorProto.INT64, (), [1]),
            helper.make_tensor("three", TensorProto.FLOAT, (), [3.0]),
        ]
        graph = helper.make_graph(
            nodes,
            "green",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, height, width])],
            [helper.make_tensor_value_info("depth", TensorProto.FLOAT, [1, height, width])],
            constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.save(model, tmp_path / name)

    image = np.zeros((40, 60, 3), np.uint8)
    image[..., 1] = np.linspace(0, 255, 60)
    expected = (image[..., 1] / 255 - 0.456) / 0.224 + 3
    save("free.onnx", "height", "width")
    save("fixed.onnx", 32, 32)
    for name in ("free.onnx", "fixed.onnx"):
        (depth,) = depth_provider(f"onnx:{tmp_path / name}")([image], [tmp_path / "a.jpg"])
        assert depth.kind == "inverse"
        np.testing.assert_allclose(depth.values[:, 3:-3], expected[:, 3:-3], atol=0.1)
    noise = np.random.default_rng(0).integers(0, 256, (700, 900, 3), np.uint8)  # resized as for the network in JAX
    (depth,) = depth_provider(f"onnx:{tmp_path / 'free.onnx'}")([noise], [tmp_path / "a.jpg"])
    shown = prepare(noise, network_size(noise.shape))[..., 1] + 3
    np.testing.assert_allclose(depth.values, resize_linear(shown, (700, 900)).clip(0), atol=1e-5)
    save("net_metric_vits.onnx", "height", "width")
    with pytest.raises(ValueError, match="is called as a metric network: name it onnx-metric:"):
        depth_provider(f"onnx:{tmp_path / 'net_metric_vits.onnx'}")
    (depth,) = depth_provider(f"onnx-metric:{tmp_path / 'net_metric_vits.onnx'}")([image], [tmp_path / "a.jpg"])
    assert depth.kind == "metric"
    (tmp_path / "bad.onnx").write_bytes(b"not a network")
    with pytest.raises(ValueError, match=r"bad\.onnx cannot be loaded as an ONNX network"):
        depth_provider(f"onnx:{tmp_path / 'bad.onnx'}")


def test_networks_get_sides_of_multiples_of_their_patch():
    assert network_size((40, 60)) == (518, 784)
    assert network_size((3000, 1000)) == (1554, 518)
    assert to_levels(np.array([0, 0.5, 1])).tolist() == [0, 128, 255]
