"""Augmentation: HMR2.0's rules, one stream each, and labels that stay on the image."""

import dataclasses

import numpy as np
import pytest

from data_pipelines.loading import augmentation, crops
from hmr_jax.body.joints import KEYPOINTS_44_FLIP, SMPL_24_FLIP
from hmr_jax.config import AugmentConfig

NUMBERS = np.arange(20_000)
FULL_PARTS = ["hips"] * 2 + ["shoulders", "head", "torso", "right_arm", "left_arm", "legs", "right_leg", "left_leg"]


def some_labels(count=6, seed=0):
    """People before cameras whose optical axis is far from the box; 2-D keypoints are the projected 3-D ones."""
    rng = np.random.default_rng(seed)
    points_3d = np.concatenate([rng.uniform(-0.8, 0.8, (count, 44, 2)), rng.uniform(4, 5, (count, 44, 1))], 2)
    intrinsics = np.tile(np.eye(3), (count, 1, 1))
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = rng.uniform(200, 300, count)
    intrinsics[:, :2, 2] = rng.uniform(100, 160, (count, 2))
    return crops.Labels(
        center=rng.uniform(110, 150, (count, 2)),
        size=rng.uniform(80, 160, count),
        keypoints_2d=np.concatenate([project(points_3d, intrinsics), np.ones((count, 44, 1))], 2),
        keypoints_3d=np.concatenate([points_3d, np.ones((count, 44, 1))], 2),
        pose=rng.normal(0, 0.7, (count, 24, 3)),
        intrinsics=intrinsics,
    )


def project(points_3d, intrinsics):
    image = points_3d @ intrinsics.mT
    return image[..., :2] / image[..., 2:]


def assert_same(a, b):
    for name, value in vars(a).items():
        np.testing.assert_allclose(value, getattr(b, name), atol=1e-9, err_msg=name)


# Crops


def test_crops_agree_with_opencv(reference):
    case = reference("crops")
    image = case["image"]
    for (x, y, side, scale, degrees, flip), patch, transform in zip(
        case["boxes"], case["patches"], case["transforms"], strict=True
    ):
        width, flip = np.array([image.shape[1]]), np.array([bool(flip)])
        center = np.array([[width[0] - 1 - x if flip[0] else x, y]])
        affine = crops.crop_affine(center, np.array([side * scale]), np.array([degrees]), 256)
        np.testing.assert_allclose(affine[0], transform, atol=1e-4)
        out = np.empty_like(patch)
        inverse = crops.sampling_affine(affine, width, flip)[0]
        crops.warp(image, inverse, crops.gain_table(np.ones((1, 3)))[0], out)
        assert np.abs(out.astype(int) - patch).mean() < 0.1


def test_gain_is_per_channel_and_saturates():
    image = np.full((8, 8, 3), 200, np.uint8)
    out = np.empty((4, 4, 3), np.uint8)
    identity = np.array([[1.0, 0, 2], [0, 1, 2]])
    crops.warp(image, identity, crops.gain_table(np.array([[1.2, 1.5, 0.5]]))[0], out)
    assert (out == [240, 255, 100]).all()


def test_outside_the_image_is_black_even_with_a_gain():
    out = np.full((4, 4, 3), 9, np.uint8)
    table = crops.gain_table(np.full((1, 3), 1.2))[0]
    crops.warp(np.full((8, 8, 3), 200, np.uint8), np.array([[1.0, 0, 20], [0, 1, 0]]), table, out)
    assert not out.any()


def test_the_border_fades_to_black_as_in_opencv():
    out = np.empty((1, 3, 3), np.uint8)
    crops.warp(
        np.full((2, 2, 3), 200, np.uint8),
        np.array([[1.0, 0, -0.75], [0, 1, 0]]),
        crops.gain_table(np.ones((1, 3)))[0],
        out,
    )
    assert out[0, :, 0].tolist() == [50, 200, 150]


def test_dense_cells_lie_at_the_centres_of_their_squares_of_the_crop():
    affine = crops.crop_affine(np.array([[30.0, 40]]), np.array([50.0]), np.array([20.0]), 64)
    whole = crops.sampling_affine(affine, np.array([90]), np.array([True]))[0]
    cells = crops.sampling_affine(affine, np.array([90]), np.array([True]), stride=4.0)[0]
    np.testing.assert_allclose(cells @ [2, 5, 1], whole @ [2 * 4 + 1.5, 5 * 4 + 1.5, 1])


def test_nearest_sampling_makes_no_new_values():
    values = np.array([[1, 5], [9, 13]], np.uint8)
    sampled = crops.sample_nearest(values, np.array([[0.5, 0, 0.1], [0, 0.5, 0.1]]), 5)
    np.testing.assert_array_equal(sampled, [[1, 5, 5, 0, 0], [9, 13, 13, 0, 0], [9, 13, 13, 0, 0], [0] * 5, [0] * 5])


# Labels


def test_mirroring_twice_changes_nothing():
    labels, width = some_labels(), np.full(6, 257)
    which = np.array([1, 0, 1, 1, 0, 1], bool)
    once = crops.flip(labels, width, which)
    assert_same(crops.flip(once, width, which), labels)
    np.testing.assert_array_equal(once.pose[1], labels.pose[1])
    np.testing.assert_allclose(once.pose[0], (labels.pose[0] * [1, -1, -1])[SMPL_24_FLIP])


def test_rotating_there_and_back_changes_nothing():
    labels, degrees = some_labels(), np.array([10, 0, -45, 170, 3, 90.0])
    assert_same(crops.rotate(crops.rotate(labels, degrees), -degrees), labels)


def test_keypoints_3d_project_onto_keypoints_2d_after_augmentation():
    labels = some_labels(count=200)
    change = augmentation.draw(AugmentConfig(extreme_crop_probability=0.5), 3, np.arange(200))
    changed, _ = crops.augment_labels(labels, np.full((200, 2), 256), change)
    projected = project(changed.keypoints_3d[..., :3], changed.intrinsics)
    np.testing.assert_allclose(projected, changed.keypoints_2d[..., :2], atol=1e-6)
    assert change.flip.any()
    assert change.rotation.any()


def test_keypoints_of_the_upright_square_are_those_of_the_affine_map():
    labels = some_labels(count=50)
    change = augmentation.draw(AugmentConfig(), 3, np.arange(50))
    changed, _ = crops.augment_labels(labels, np.full((50, 2), 256), change)
    affine = crops.crop_affine(changed.center, changed.size, change.rotation, 128)
    mirrored = crops.flip(labels, np.full(50, 256), change.flip).keypoints_2d[..., :2]
    expected = (mirrored @ affine[:, :, :2].mT + affine[:, None, :, 2]) / 128 - 0.5
    np.testing.assert_allclose(crops.to_crop(changed.keypoints_2d[..., :2], changed.center, changed.size), expected)


def test_dots_drawn_at_keypoints_are_found_at_the_augmented_keypoints():
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [255, 0, 255], [0, 255, 255]])
    labels, slots = some_labels(count=12, seed=4), np.array([4, 7, 11, 14, 25, 34])
    change = augmentation.draw(
        AugmentConfig(flip_probability=0.5, color=0, extreme_crop_probability=0), 1, np.arange(12)
    )
    changed, _ = crops.augment_labels(labels, np.full((12, 2), 256), change)
    affine = crops.crop_affine(changed.center, changed.size, change.rotation, 224)
    inverse = crops.sampling_affine(affine, np.full(12, 256), change.flip)
    rows, columns = np.mgrid[:256, :256]
    found = 0
    for i in range(12):
        for slot, color in zip(slots, colors, strict=True):
            x, y = labels.keypoints_2d[i, slot, :2]
            image = np.zeros((256, 256, 3), np.uint8)
            image[(columns - x) ** 2 + (rows - y) ** 2 < 4**2] = color
            out = np.empty((224, 224, 3), np.uint8)
            crops.warp(image, inverse[i], crops.gain_table(change.gain[i : i + 1])[0], out)
            weight = out[..., color > 0].mean(-1)
            # A left wrist is called the right one after mirroring.
            name = KEYPOINTS_44_FLIP[slot] if change.flip[i] else slot
            expected = (crops.to_crop(changed.keypoints_2d[i : i + 1, name : name + 1, :2],
                                     changed.center[i : i + 1], changed.size[i : i + 1])[0, 0] + 0.5) * 224  # fmt: skip
            if (expected < 20).any() or (expected > 204).any():
                continue
            center = [(weight * grid[:224, :224]).sum() / weight.sum() for grid in (columns, rows)]
            np.testing.assert_allclose(center, expected, atol=0.6)
            found += 1
    assert found > 30


# Draws


def test_the_draws_follow_the_configured_rules():
    drawn = augmentation.draw(AugmentConfig(), 1, NUMBERS)
    assert drawn.scale.min() == 0.7
    assert drawn.scale.max() == 1.3
    assert np.abs(drawn.scale - 1).mean() == pytest.approx(0.3 * 0.6306, rel=0.02)  # E |clip(n, -1, 1)|
    assert np.mean(drawn.rotation != 0) == pytest.approx(0.6, abs=0.01)
    assert np.abs(drawn.rotation).max() == 60
    assert drawn.rotation[drawn.rotation != 0].std() == pytest.approx(30 * 0.9594, rel=0.02)  # of clip(n, -2, 2)
    assert np.abs(drawn.shift).max() == 0.02
    assert abs(np.corrcoef(drawn.shift.T)[0, 1]) < 0.03
    assert drawn.flip.mean() == pytest.approx(0.5, abs=0.01)
    assert 0.8 <= drawn.gain.min() < 0.81 < 1.19 < drawn.gain.max() <= 1.2
    assert np.mean(~np.isnan(drawn.part)) == pytest.approx(0.1, abs=0.01)
    np.testing.assert_allclose(np.histogram(drawn.part, 10, (0, 1))[0], 200, atol=50)


def test_draws_belong_to_the_example_and_the_seed():
    config = AugmentConfig()
    alone = augmentation.draw(config, 7, np.array([123]))
    together = augmentation.draw(config, 7, np.arange(100, 200))
    other = augmentation.draw(config, 8, np.array([123]))
    for name in vars(alone):
        np.testing.assert_array_equal(getattr(alone, name)[0], getattr(together, name)[23])
    assert alone.scale != other.scale


def test_draws_are_those_of_numpys_philox_in_a_stream_of_each_augmentation():
    """The numbers of the streams are part of what a seed means: a new stream must not change the others."""
    config = AugmentConfig(flip_probability=0.5, color=0.2)
    drawn = augmentation.draw(config, 7, np.arange(50))
    for index in range(50):

        def uniforms(stream, index=index):
            key, counter = np.array([7, index], np.uint64), np.array([0, 0, 0, stream], np.uint64)
            return np.random.Generator(np.random.Philox(key=key, counter=counter)).random(3)

        assert drawn.flip[index] == (uniforms(9)[0] < 0.5)
        np.testing.assert_allclose(drawn.gain[index], 0.8 + 0.4 * uniforms(10))


OFF = {
    "scale": ({"scale": 0.0}, {"scale"}),
    "rotation": ({"rotation_probability": 0.0}, {"rotation"}),
    "shift": ({"shift": 0.0}, {"shift"}),
    "flip": ({"flip_probability": 0.0}, {"flip"}),
    "color": ({"color": 0.0}, {"gain"}),
    "extreme crop": ({"extreme_crop_probability": 0.0}, {"part"}),
}


@pytest.mark.parametrize("name", OFF)
def test_switching_one_augmentation_off_leaves_the_others_alone(name):
    changes, affected = OFF[name]
    default = augmentation.draw(AugmentConfig(), 0, NUMBERS[:500])
    without = augmentation.draw(dataclasses.replace(AugmentConfig(), **changes), 0, NUMBERS[:500])
    unchanged = augmentation.identity(500)
    for field in vars(default):
        expected = unchanged if field in affected else default
        np.testing.assert_array_equal(getattr(without, field), getattr(expected, field))


# Extreme crops


def visible(slots):
    """Keypoints on a 44-point diagonal, of which only some are seen."""
    keypoints = np.stack([np.arange(44) * 10.0, np.arange(44) * 3.0, np.zeros(44)], 1)
    keypoints[list(slots), 2] = 1
    return keypoints


@pytest.mark.parametrize("share", range(10))
def test_a_full_body_is_cropped_to_the_parts_of_hmr2(share):
    keypoints = visible(range(44))
    center, side = augmentation.extreme_crop(keypoints, share / 10 + 0.05)
    slots, factor = augmentation.KEPT[FULL_PARTS[share]]
    assert side == pytest.approx(1.2 * factor * 10 * (slots.max() - slots.min()))
    np.testing.assert_allclose(center, keypoints[[slots.min(), slots.max()], :2].mean(0))


def test_the_kept_points_are_those_of_hmr2():
    openpose = {name: sorted(s for s in slots if s < 25) for name, (slots, _) in augmentation.KEPT.items()}
    extra = {name: sorted(s - 25 for s in slots if s >= 25) for name, (slots, _) in augmentation.KEPT.items()}
    assert openpose["hips"] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 18]
    assert extra["hips"] == [2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]
    assert openpose["legs"] == [8, 9, 10, 11, 12, 13, 14, 19, 20, 21, 22, 23, 24]
    assert extra["legs"] == [0, 1, 2, 3, 4, 5, 14]
    assert (openpose["left_leg"], extra["left_leg"]) == ([12, 13, 14, 19, 20, 21], [3, 4, 5])
    # Left and right are mirror images of each other.
    for part in ("arm", "leg"):
        left, right = augmentation.KEPT[f"left_{part}"][0], augmentation.KEPT[f"right_{part}"][0]
        assert sorted(KEYPOINTS_44_FLIP[left]) == sorted(right)


def test_an_upper_body_is_cropped_to_one_of_five_parts():
    upper = set(range(44)) - {10, 11, 13, 14, 19, 20, 21, 22, 23, 24, 25, 26, 29, 30}
    keypoints = visible(upper)
    for part, name in enumerate(["shoulders", "head", "torso", "right_arm", "left_arm"]):
        slots = [slot for slot in augmentation.KEPT[name][0] if slot in upper]
        _, side = augmentation.extreme_crop(keypoints, part / 5 + 0.1)
        assert side == pytest.approx(1.2 * augmentation.KEPT[name][1] * 10 * (max(slots) - min(slots)))


def test_one_slot_of_a_joint_is_enough_for_a_full_body():
    assert augmentation.extreme_crop(visible(range(25)), 0.05) is not None
    assert augmentation.extreme_crop(visible(set(range(25)) - {4}), 0.05) is None  # a wrist is missing, a knee is there


def test_an_extreme_crop_of_nothing_is_not_made():
    assert augmentation.extreme_crop(visible([]), 0.5) is None
    tiny = visible(range(44))
    tiny[:, :2] *= 0.005
    assert augmentation.extreme_crop(tiny, 0.25) is None
    faint = visible(range(44))
    faint[:, 2] *= 0.05
    assert augmentation.extreme_crop(faint, 0.55) is None  # the right arm's confidences sum to less than 1


def test_an_extreme_crop_replaces_the_box_before_the_shift():
    labels = some_labels(count=1)
    change = dataclasses.replace(augmentation.identity(1), part=np.array([0.35]), shift=np.array([[0.02, 0]]))
    center, side = augmentation.extreme_crop(labels.keypoints_2d[0], 0.35)
    changed, _ = crops.augment_labels(labels, np.full((1, 2), 256), change)
    np.testing.assert_allclose(changed.center[0], center + np.array([0.02 * side, 0]))
    np.testing.assert_allclose(changed.size[0], side)
    np.testing.assert_array_equal(changed.keypoints_2d, labels.keypoints_2d)  # and their confidence, in view or not
