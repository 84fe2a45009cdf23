"""Person crops: labels move with the image, whatever the scale at which it is decoded."""

import io

import numpy as np
import pytest
from etils import epath
from PIL import Image

from data_pipelines.builders.labels.cropping import crop_person, person_record
from data_pipelines.builders.labels.source_images import BadImage, ImageFinder, SourceImage, open_image

W, H = 1600, 1200


@pytest.fixture(scope="module")
def image():
    """A smooth image with a bright cross whose centre is at (700, 500), a pixel's centre."""
    rows, columns = np.mgrid[:H, :W]
    return np.stack([spot(columns, rows, 700, 500, 12.0), columns * 255 / W, rows * 255 / H], -1).astype(np.uint8)


def spot(x, y, cx, cy, sigma):
    return 255 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))


def encoded(image, kind, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def brightest(image):
    """Centre of mass of the red spot."""
    weight = np.clip(image[..., 0].astype(float) - 40, 0, None)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


def points_at(*pixels):
    points = np.zeros((44, 3))
    points[: len(pixels)] = [(*pixel, 1) for pixel in pixels]
    return points


@pytest.mark.parametrize("size", [100, 300, 333.3, 700, 1500])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "array"])
def test_keypoints_stay_on_what_they_mark(image, size, kind):
    source = image if kind == "array" else encoded(image, kind, **({"quality": 95} if kind == "JPEG" else {}))
    cut = crop_person(SourceImage(source), box_center=[720.3, 480.9], box_size=size, keypoints_2d=points_at((700, 500)))
    image = cut["image"]
    assert image.shape[0] == image.shape[1] <= 512
    np.testing.assert_allclose(brightest(image), cut["keypoints_2d"][0, :2], atol=0.12)
    assert (cut["keypoints_2d"][1:] == 0).all()  # absent points stay at nought
    factor = cut["box_size"] / size
    assert cut["source_size"].tolist() == [W, H]
    left, top, right, bottom = cut["source_box"]
    assert right - left == bottom - top == pytest.approx(image.shape[0] / factor)
    assert image.shape[0] >= min(512, 1.8 * size) - 1


def test_a_camera_sees_the_same_in_the_crop(image):
    camera = np.array([[900.0, 0, 790], [0, 910, 610], [0, 0, 1]])
    point = np.array([-0.3, -0.2, 2.5])
    projected = camera @ point
    cut = crop_person(
        SourceImage(image), box_center=[700, 500], box_size=650, keypoints_2d=points_at(projected[:2] / projected[2]),
        intrinsics=camera,
    )  # fmt: skip
    seen = cut["intrinsics"] @ point
    np.testing.assert_allclose(seen[:2] / seen[2], cut["keypoints_2d"][0, :2], atol=1e-9)


def test_mask_and_depth_move_along_and_are_not_mixed(image):
    rows, columns = np.mgrid[:H, :W]
    mask = (columns - 700) ** 2 + (rows - 500) ** 2 < 200**2
    depth = np.where(mask, 3.0, 8.0)
    cut = crop_person(
        SourceImage(encoded(image, "JPEG")), box_center=[700, 500], box_size=600, keypoints_2d=points_at((700, 500)),
        mask=mask, depth=depth,
    )  # fmt: skip
    assert set(np.unique(cut["depth"])) == {0.0, 3.0, 8.0}  # 0 beyond the image
    radius = 200 * 512 / (1.8 * 600)
    y, x = np.nonzero(cut["mask"])
    np.testing.assert_allclose([x.mean(), y.mean()], cut["keypoints_2d"][0, :2], atol=0.2)
    assert cut["mask"].sum() == pytest.approx(np.pi * radius**2, rel=0.01)


def test_beyond_the_image_is_black(image):
    cut = crop_person(SourceImage(image), box_center=[5, 5], box_size=200, keypoints_2d=points_at((5, 5)))
    assert (cut["image"][:150, :150] == 0).all()
    assert cut["source_box"][0] < 0


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_file_is_rotated_back_before_it_is_cut(image, rotation):
    rotated = np.rot90(image, rotation // 90)  # counter-clockwise
    for source in (rotated.copy(), encoded(np.ascontiguousarray(rotated), "JPEG", quality=95)):
        upright = SourceImage(source, rotation)
        assert (upright.width, upright.height) == (W, H)
        cut = crop_person(upright, box_center=[720, 480], box_size=700, keypoints_2d=points_at((700, 500)))
        np.testing.assert_allclose(brightest(cut["image"]), cut["keypoints_2d"][0, :2], atol=0.12)


def test_what_cannot_be_cut_is_named_by_its_reason(image):
    whole = encoded(image, "JPEG")
    labels = {"box_center": [700, 500], "box_size": 300, "keypoints_2d": points_at((700, 500))}

    def reason(source, **changes):
        return person_record(SourceImage(source), key="a", dataset="b", **(labels | changes))

    assert reason(whole[: len(whole) // 2]) == "image: cannot be decoded"
    assert reason(whole, box_size=np.nan) == "box: empty or not finite"
    assert reason(whole, box_size=40_000) == "box: far larger than the image"
    assert reason(whole, box_center=[5000, 500]) == "box: outside the image"
    assert reason(whole, mask=np.ones((3, 4))) == "mask: not of the image's size"
    assert isinstance(reason(whole), dict)


@pytest.mark.parametrize(
    ("box", "doubt"),
    [
        ({"box_size": 40_000}, "box: far larger than the image"),
        ({"box_center": [5000, 500]}, "box: outside the image"),
        ({"box_size": 0.0}, "box: empty"),
    ],
)
def test_doubtful_boxes_are_cut_where_nobody_is_to_be_left_out(image, box, doubt):
    labels = {"box_center": [700, 500], "box_size": 300, "keypoints_2d": points_at((700, 500))}
    cut = crop_person(SourceImage(image), **(labels | box), keep_doubtful=True)
    assert cut["doubt"] == doubt
    assert cut["image"].shape[0] <= 512
    left, top, right, _ = cut["source_box"]
    x, y, _ = cut["keypoints_2d"][0]
    factor = (right - left) / cut["image"].shape[0]
    np.testing.assert_allclose([(x + 0.5) * factor + left, (y + 0.5) * factor + top], [700.5, 500.5], atol=1e-6)
    if doubt == "box: far larger than the image":  # the image is some px of the square
        rows, columns = np.nonzero(cut["image"].any(-1))
        np.testing.assert_allclose([columns.mean(), rows.mean()], 255.5, atol=2)
        assert np.ptp(columns) == pytest.approx(W / factor, abs=2)
    else:
        assert crop_person(SourceImage(image), **labels, keep_doubtful=True).keys().isdisjoint({"doubt"})


def test_what_cannot_be_opened_is_named_by_its_reason(tmp_path):
    assert open_image(b"no image") == "image: cannot be read"
    assert open_image(tmp_path / "a.jpg") == "image: missing"
    with pytest.raises(BadImage):
        SourceImage(b"")


def test_images_are_found_by_name_in_folders_and_by_other_endings(image, tmp_path):
    first, second = epath.Path(tmp_path / "first"), epath.Path(tmp_path / "second")
    for folder in (first, second):
        folder.mkdir()
    (second / "a.jpg").write_bytes(encoded(image, "JPEG"))
    (first / "b.png").write_bytes(encoded(image[:, :800], "PNG"))
    find = ImageFinder(first, second, endings=(".png",), rotation=90)
    found = find("a.jpg")
    assert (found.width, found.height) == (H, W)
    assert find("a.jpg") is found  # people of one image are neighbours
    assert find("b.jpg").path == first / "b.png"
    assert find("c.jpg") == "image: missing"


def test_people_of_one_image_share_its_decoding(image, monkeypatch):
    source = SourceImage(encoded(image, "JPEG"))
    for center in ([700, 500], [300, 300], [900, 800]):
        crop_person(source, box_center=center, box_size=200, keypoints_2d=points_at(center))
    assert list(source._decoded) == [1]
    crop_person(source, box_center=[700, 500], box_size=700, keypoints_2d=points_at((700, 500)))
    assert sorted(source._decoded) == [1, 2]
