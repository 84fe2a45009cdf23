"""Label files of builders end in right records or in a sentence; fuzz_labels.py has the examples."""

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets")

import fuzz_labels
from fuzz_labels import KINDS, build, check, ready


@pytest.mark.parametrize("kind", KINDS)
def test_random_changes_of_a_label_file_give_right_records_or_a_sentence(kind):
    results = [fuzz_labels.one(kind, seed) for seed in range(40)]
    assert 0 < sum(results) < 40


def changed(kind, **labels):
    """A label file with other values; callables are given the old ones."""
    _, tree, _ = ready(kind)
    new = {name: value(tree[name]) if callable(value) else value for name, value in labels.items()}
    return KINDS[kind][5](tree | new)


BROKE = {
    "rows of another width": ("camerahmr_npz", {"pose": lambda x: x[:, :36]}, "'pose' of .* has the shape"),
    "too few betas": ("camerahmr_npz", {"shape": lambda x: x[:, :8]}, r"at least 10"),
    "too few keypoints": ("camerahmr_npz", {"gtkps": lambda x: x[:, :30]}, r"not \(4, 44, 3\)"),
    "numbers as text": ("camerahmr_npz", {"center": lambda x: x.astype(str)}, "instead of numbers"),
    "complex numbers": ("camerahmr_npz", {"cam_t": lambda x: x.astype(complex)}, "instead of numbers"),
    "objects that are no numbers": (
        "camerahmr_npz", {"scale": np.array([1, None, {}, 2], object)}, "'scale' of .* something else than numbers",
    ),
    "no rows at all": ("camerahmr_npz", {"center": np.array(3.0)}, "'center' of .* has no rows"),
    "a column of another length": ("hmr2_eval_npz", {"gender": lambda x: x[:1]}, "different lengths"),
    "keypoints without confidence": ("hmr2_eval_npz", {"extra_keypoints_3d": lambda x: x[..., :3]}, "has the shape"),
    "a flag for each joint": ("hmr2_eval_npz", {"has_betas": np.ones((3, 24))}, "has the shape"),
    "3-D points without confidence": ("spin_npz", {"S": lambda x: x[..., :3]}, r"not \(3, 24, 4\)"),
    "a list that is shorter than the others": ("three_dpw", {"genders": ["m"]}, "lists of as many people"),
    "one track instead of a list": ("three_dpw", {"poses": 3}, "lists of as many people"),
    "poses of fewer frames": ("three_dpw", {"poses": lambda x: [x[0][:1], x[1]]}, "'poses' of .* has the shape"),
    "intrinsics as four numbers": ("three_dpw", {"cam_intrinsics": [1, 1, 0, 0]}, r"not \(3, 3\)"),
    "a camera's name that is a list": ("mlb_pitch", {"people": lambda x: [x[0] | {"camera": []}]}, "camera that is"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKE)
def test_label_files_that_once_broke_a_builder_are_refused(name):
    kind, labels, words = BROKE[name]
    data = changed(kind, **labels)
    with pytest.raises(ValueError, match=words):
        build(kind, data)
    assert not check(kind, data)


@pytest.mark.parametrize("factor", [1.05, -1.0, 0.0])
def test_cameras_whose_rotation_is_none_are_dropped(factor):
    def scaled(poses):
        poses = np.array(poses)
        poses[0, :3, :3] *= factor
        return poses

    assert len(build("three_dpw", changed("three_dpw"))) == 3
    assert len(build("three_dpw", changed("three_dpw", cam_poses=scaled))) == 2


def test_one_number_a_row_may_stand_in_an_array_of_its_own():
    assert len(build("cliff_npz", changed("cliff_npz", focal_l=lambda x: x[:, None]))) > 0


def test_a_box_that_is_infinitely_far_away_is_dropped():
    far = changed("hmr2_eval_npz", center=lambda x: np.add(x, [[1e12, 0], [0, 0], [0, 0]]))
    assert len(build("hmr2_eval_npz", far)) == 2
