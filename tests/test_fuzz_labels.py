"""Label files of builders end in right records or in a sentence; fuzz_labels.py has the examples."""

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets")

import fuzz_labels
from fuzz_labels import KINDS, build, check, ready

from data_pipelines.builders.datasets.bedlam import COLUMNS

pytestmark = pytest.mark.slow

FITTED = ("bedlam", "rich", "rich_camera", "rich_eval_npz", "rich_genders")  # to SMPL-X, which takes its time


@pytest.mark.parametrize("kind", KINDS)
def test_random_changes_of_a_label_file_give_right_records_or_a_sentence(kind):
    count = 10 if kind in FITTED else 40
    results = [fuzz_labels.one(kind, seed) for seed in range(count)]
    assert 0 < sum(results) < count


def changed(kind, **labels):
    """A label file with other values; callables are given the old ones, and dicts change a part."""
    return KINDS[kind].data(replaced(ready(kind)[1], labels))


def replaced(tree, labels):
    new = {
        name: value(tree[name])
        if callable(value)
        else replaced(tree[name], value)
        if isinstance(value, dict)
        else value
        for name, value in labels.items()
    }
    return tree | new


def first(**labels):
    """A list whose first entry has other labels."""
    return lambda entries: [replaced(entries[0], labels), *entries[1:]]


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
    "a part that is no dict": ("emdb", {"smpl": 3}, "'smpl' of .* it lacks poses_root"),
    "shapes of another number of frames": ("emdb", {"smpl": {"trans": lambda x: x[:2]}}, "'trans' of .* has the shape"),
    "fewer betas than SMPL's": ("emdb", {"smpl": {"betas": lambda x: x[:8]}}, r"'betas' of .* not \(10,\)"),
    "a flag for each frame": ("emdb", {"emdb1": np.ones(4, bool)}, "'emdb1' of .* has the shape"),
    "frames that are not there": ("emdb", {"bboxes": {"invalid_idxs": np.array([9])}}, "not numbers of its 4 frames"),
    "three joints too few": ("emdb", {"kp2d": lambda x: x[:, :21]}, "'kp2d' of .* has the shape"),
    "a body without its first joint": ("rich", {"body_pose": lambda x: x[:, :60]}, "'body_pose' of .* has the shape"),
    "betas of which ten would be taken": ("rich", {"betas": np.zeros((1, 16))}, "'betas' of .* has the shape"),
    "a scaled camera": ("rich_camera", {"CameraMatrix": lambda x: [2 * float(y) for y in x]}, "a rotation from"),
    "a camera without focal length": ("rich_camera", {"Intrinsics": ["nan"] * 9}, "numbers that are not finite"),
    "subjects without numbers": ("rich_genders", {"anna": "female"}, "by the subjects' numbers"),
    "two genders of a subject": ("rich_genders", {"017": "male"}, "the subject 17 two genders"),
    "more betas than SMPL-X's": ("rich_eval_npz", {"shape": lambda x: np.tile(x, (1, 3))}, "have 30 betas"),
    "a pose between SMPL's and SMPL-X's": ("bedlam", {"pose_cam": lambda x: x[:, :100]}, "'pose_cam' of .* shape"),
    "no list of entries": ("eft", {"data": lambda x: {}}, "'data' is no list"),
    "a box of three numbers": ("coco", {"annotations": first(bbox=[1, 2, 3])}, r"'bbox' of annotation 0 of .*\(3,\)"),
    "a person without keypoints": ("coco", {"annotations": first(keypoints=[])}, "'keypoints' of annotation 0 of"),
    "an image that is not there": ("coco", {"annotations": first(image_id=9)}, "'image_id' of annotation 0 of"),
    "a number of an image that is infinite": ("coco", {"images": first(id=np.inf)}, "'id' of image 0 of"),
    "two images of a number": ("coco", {"images": lambda x: [*x, x[1] | {"id": 0}]}, "two images 0"),
    "names of fewer people": ("hourglass", {"imgname": lambda x: x[:2]}, "different lengths"),
    "codes of no characters": ("hourglass", {"imgname": np.full((3, 4), -1.0)}, "codes of their characters"),
    "centres of one axis": ("hourglass", {"center": lambda x: x[:, 0]}, "'center' of .* has the shape"),
    "masks that are none": ("human36m_boxes", {"Masks": np.ones((6, 1))}, "cannot be read"),
    "masks of one axis": ("human36m_boxes", {"Masks": [np.ones(9)] * 6}, r"'Masks\[0\]' of .* has the shape"),
    "frames across instead of down": ("3dhp_train", {"annot2": lambda x: [x[0].T]}, "'annot2' of .* has the shape"),
    "3-D points of fewer frames": ("3dhp_train", {"annot3": lambda x: [x[0][:9]]}, r"not \(21, 84\)"),
    "flags of fewer frames": ("3dhp_test", {"valid_frame": np.ones(2)}, "'valid_frame' of .* has the shape"),
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
    assert len(build("emdb", changed("emdb"))) == 3
    assert len(build("emdb", changed("emdb", camera={"extrinsics": scaled}))) == 2


def test_a_box_without_extent_is_not_the_one_that_is_taken():
    turned = changed("emdb", bboxes={"bboxes": lambda x: x[:, [2, 1, 0, 3]]})
    records = build("emdb", turned)
    assert {record["doubt"] for record in records.values()} == {"box: invalid, so that around the joints is taken"}


def test_rotations_of_more_than_a_turn_do_not_vanish_in_a_fit():
    turned = build("rich", changed("rich", body_pose=lambda x: x + 100 * np.eye(63, dtype=np.float32)[40]))
    doubts = {key: record["doubt"] for key, record in turned.items()}
    assert {doubts[key] for key in doubts if "-00017-" in key} == {"smplx: SMPL does not fit"}
    assert {doubts[key] for key in doubts if "-00018-" in key} == {""}


def test_a_calibration_without_cameras_is_refused():
    with pytest.raises(ValueError, match=r"camera\.calibration is not .*: it has no camera"):
        build("3dhp_camera", b"Skeletool Camera Calibration File V1.0")


def test_a_scene_without_people_has_no_records():
    assert not build("bedlam_smpl", changed("bedlam_smpl", **{name: lambda x: x[:0] for name in COLUMNS}))


def test_masks_of_another_size_than_the_images_give_no_boxes():
    assert len(build("human36m_boxes", changed("human36m_boxes"))) == 2
    assert not build("human36m_boxes", changed("human36m_boxes", Masks=lambda x: [mask[:90] for mask in x]))


def test_cdf_files_in_circles_or_without_values_are_refused():
    whole = ready("human36m_3d")[0] / KINDS["human36m_3d"].file
    data = KINDS["human36m_3d"].data(ready("human36m_3d")[1])
    variable = 8 + 56 + 256 + 84  # the offset of its descriptor, see formats/human36m.py
    circle = bytearray(data.replace(b"Pose", b"Poze"))
    circle[variable + 12 : variable + 20] = variable.to_bytes(8, "big")
    empty = bytearray(data)
    empty[variable + 28 : variable + 36] = bytes(8)
    for damaged, words in ((circle, "in a circle"), (empty, "records without values")):
        with pytest.raises(ValueError, match=f"{whole.name}: .*{words}"):
            build("human36m_3d", bytes(damaged))


def test_a_file_that_has_changed_is_read_again():
    before = build("eft", changed("eft"))
    assert len(build("eft", changed("eft", data=lambda x: x[:1]))) == 1 < len(before)


def test_one_number_a_row_may_stand_in_an_array_of_its_own():
    assert len(build("cliff_npz", changed("cliff_npz", focal_l=lambda x: x[:, None]))) > 0


def test_a_box_that_is_infinitely_far_away_is_dropped():
    far = changed("hmr2_eval_npz", center=lambda x: np.add(x, [[1e12, 0], [0, 0], [0, 0]]))
    assert len(build("hmr2_eval_npz", far)) == 2
