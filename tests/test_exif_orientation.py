"""Images that EXIF turns: labels land where the stored image shows them, or nothing is stored and a reason is told."""

import io
import json

import numpy as np
import pytest
from PIL import Image

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("h5py")

from formats import (  # noqa: E402  # noqa: E402
    camerahmr_npz,
    emdb,
    hmr2_eval_npz,
    hmr2_tars,
    human36m,
    mlb_pitch,
    mpi_inf_3dhp,
    spin_npz,
    three_dpw,
)
from formats.checks import read  # noqa: E402

from data_pipelines import records  # noqa: E402
from data_pipelines.build import build  # noqa: E402
from data_pipelines.builders.labels.source_images import (  # noqa: E402
    _AGAINST_EXIF,
    UNCLEAR,
    BadImage,
    ImageFinder,
    SourceImage,
    open_image,
)
from data_pipelines.precompute_depth import images_by_name, precompute  # noqa: E402
from hmr_jax.depth import DepthMap  # noqa: E402

pytestmark = pytest.mark.slow

TURNED = range(2, 9)


def turned(image, orientation, kind="JPEG"):
    """A file that viewers show as `image`, stored under an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    stored = image.transpose(_AGAINST_EXIF[orientation]) if orientation != 1 else image
    stored.save(file, kind, exif=exif, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    return file.getvalue()


def turn_all(folder, orientation):
    """Stores every image of a folder under an orientation, as a phone would have."""
    for path in images_by_name([folder]).values():
        with Image.open(path) as image:
            image.load()
        path.write_bytes(turned(image, orientation))


def image_of(record):
    return np.asarray(Image.open(io.BytesIO(record["image/encoded"])), float)


def check_same(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        for name in ("keypoints_2d", "box/center", "camera/intrinsics", "image/source_box"):
            np.testing.assert_allclose(one[name], other[name], atol=1e-4)
        assert np.abs(image_of(one) - image_of(other)).mean() < 4


@pytest.mark.parametrize("orientation", TURNED)
def test_own_captures_are_labelled_as_viewers_show_them(tmp_path, orientation):
    for name in ("a", "b"):
        mlb_pitch.write(tmp_path / name)
    turn_all(tmp_path / "b", orientation)
    for name in ("a", "b"):
        assert build("mlb_pitch", tmp_path / f"of_{name}", tmp_path / name)["train"]["kept"] == 2
    check_same(*(read(tmp_path / f"of_{name}", "mlb_pitch", "train") for name in "ba"))


def test_own_captures_may_be_labelled_as_stored(tmp_path):
    for name in ("a", "b"):
        mlb_pitch.write(tmp_path / name)
    for path in images_by_name([tmp_path / "b"]).values():
        with Image.open(path) as image:
            image.load()
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(path, "JPEG", quality=95, exif=exif)
    build("mlb_pitch", tmp_path / "of_a", tmp_path / "a")
    build("mlb_pitch", tmp_path / "of_b", tmp_path / "b", exif="stored")
    check_same(*(read(tmp_path / f"of_{name}", "mlb_pitch", "train") for name in "ba"))


BUILDERS = {
    "camerahmr_npz/aic": camerahmr_npz.write,
    "hmr2_eval_npz/3dpw_test": lambda folder: hmr2_eval_npz.write(folder, "3dpw_test"),
    "emdb/emdb1": emdb.write,
    "human36m/raw": human36m.write,
    "mpi_inf_3dhp": mpi_inf_3dhp.write,
    "three_dpw": lambda folder: three_dpw.write(folder, ("test",)),
    "coco_pose/spin": lambda folder: spin_npz.write(
        folder, "coco_2014_train.npz", [f"train2014/{row}.jpg" for row in range(3)]
    ),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_published_data_are_refused_until_it_is_said_what_labels_mean(tmp_path, name):
    for folder in ("a", "b"):
        BUILDERS[name](tmp_path / folder)
    turn_all(tmp_path / "b", 6)
    options = {"cameras": (0,)} if name == "mpi_inf_3dhp" else {}
    with pytest.raises(ValueError, match=r"(?s)No row of split.*turned by EXIF; say --option exif=upright"):
        build(name, tmp_path / "o", tmp_path / "b", **options)
    report = build(name, tmp_path / "of_b", tmp_path / "b", exif="upright", **options)
    assert build(name, tmp_path / "of_a", tmp_path / "a", **options) == report
    for split in report:
        check_same(*(read(tmp_path / f"of_{folder}", name, split) for folder in "ba"))


def test_images_in_tars_are_refused_too(tmp_path, monkeypatch):
    monkeypatch.setattr(hmr2_tars, "jpeg", lambda image: turned(Image.fromarray(image), 8))
    hmr2_tars.write(tmp_path / "m")
    with pytest.raises(ValueError, match=r"(?s)No row of split.*turned by EXIF"):
        build("hmr2_tars/aic", tmp_path / "o", tmp_path / "m", body="default")
    report = build("hmr2_tars/aic", tmp_path / "o", tmp_path / "m", body="default", exif="upright")
    assert report["train"]["kept"] == 6


def test_an_unknown_meaning_is_refused(tmp_path):
    with pytest.raises(ValueError, match="exif must be upright, stored or empty, not 'ignore'"):
        build("mlb_pitch", tmp_path, tmp_path, exif="ignore")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", TURNED)
def test_both_meanings_are_right_in_every_format(orientation, kind):
    rows, columns = np.mgrid[:40, :64]
    image = np.stack([columns * 3, rows * 5, rows * 0 + 90], -1).astype(np.uint8)
    source = turned(Image.fromarray(image), orientation, kind)
    upright, stored = (SourceImage(source, exif=exif) for exif in ("upright", "stored"))
    np.testing.assert_allclose(np.asarray(upright.decoded(1), float), image, atol=12)
    raw = np.asarray(Image.fromarray(image).transpose(_AGAINST_EXIF[orientation]), float)
    np.testing.assert_allclose(np.asarray(stored.decoded(1), float), raw, atol=12)
    for one, pixels in ((upright, image), (stored, raw)):
        assert (one.height, one.width) == pixels.shape[:2]
    depth = columns.astype(np.float32)
    np.testing.assert_array_equal(upright.oriented(depth), depth)
    np.testing.assert_allclose(stored.oriented(depth), raw[..., 0] / 3, atol=4)
    assert open_image(source) == UNCLEAR


def test_a_stated_size_tells_whether_labels_are_upright(tmp_path):
    image = Image.new("RGB", (60, 40))
    (tmp_path / "a.jpg").write_bytes(turned(image, 6))
    found = ImageFinder(tmp_path)("a.jpg", (60, 40))
    assert (found.width, found.height) == (60, 40)
    found = ImageFinder(tmp_path)("a.jpg", (40, 60))
    assert (found.width, found.height) == (40, 60)
    assert found.decoded(1).size == (40, 60)
    assert ImageFinder(tmp_path)("a.jpg") == UNCLEAR
    (tmp_path / "b.jpg").write_bytes(turned(image, 3))  # the size is the same either way
    assert ImageFinder(tmp_path)("b.jpg", (60, 40)) == UNCLEAR
    (tmp_path / "c.jpg").write_bytes(turned(image, 1))  # images of another size than the labelled ones
    assert ImageFinder(tmp_path)("c.jpg", (120, 80)) == "image: not of the size that the labels state"
    assert ImageFinder(tmp_path)("c.jpg", (60, 40)).width == 60


def test_cocos_annotations_state_the_size_of_their_images(tmp_path):
    spin_npz.write_coco(tmp_path / "m")
    path = tmp_path / "m" / "annotations" / "person_keypoints_train2014.json"
    contents = json.loads(path.read_text())
    for entry in contents["images"]:
        entry |= {"width": 320, "height": 320}
    path.write_text(json.dumps(contents))
    with pytest.raises(ValueError, match="not of the size that the labels state"):
        build("coco_pose/annotations", tmp_path / "o", tmp_path / "m")


@pytest.mark.parametrize("orientation", TURNED)
def test_depth_of_turned_captures_lies_on_them(tmp_path, orientation):
    mlb_pitch.write(tmp_path / "m")
    turn_all(tmp_path / "m", orientation)
    grey = lambda images, paths: [DepthMap.from_values(image.mean(-1) + 1.0) for image in images]  # noqa: E731
    assert precompute(images_by_name([tmp_path / "m"]), grey, "grey", tmp_path / "depths") == []
    build("mlb_pitch", tmp_path / "o", tmp_path / "m", depth_dir=str(tmp_path / "depths"))
    for record in read(tmp_path / "o", "mlb_pitch", "train"):
        depth = records.decode_depth(record["depth/encoded"], "inverse")
        seen = depth > 0
        assert np.corrcoef(depth[seen], image_of(record).mean(-1)[seen])[0, 1] > 0.98


def test_a_record_of_a_turned_file_is_no_good_record():
    data = turned(Image.new("RGB", (40, 60)), 6)
    record = records.encode(
        data, key="a", dataset="b", box_center=[20, 20], box_size=20, keypoints_2d=np.ones((44, 3)) * [20, 20, 1]
    )
    assert "image: turned by EXIF, which readers ignore" in records.problems(record)


def test_damaged_exif_is_as_good_as_none():
    data = bytearray(turned(Image.new("RGB", (40, 60)), 6))
    start = data.index(b"Exif\0\0")
    data[start + 6 : start + 16] = b"\xff" * 10
    found = open_image(bytes(data))
    assert not isinstance(found, str)
    assert (found.width, found.height) == found.decoded(1).size


def test_what_is_no_image_stays_a_bad_image():
    with pytest.raises(BadImage, match="cannot be read"):
        SourceImage(b"nothing", exif="")
