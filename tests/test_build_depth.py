"""Estimated depth in built records: found by the image's path, cut as the image is, counted where there is none."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("h5py")

from etils import epath  # noqa: E402
from formats import bedlam, camerahmr_npz, emdb, hmr2_tars, human36m, mlb_pitch, mpi_inf_3dhp, three_dpw  # noqa: E402
from formats.checks import read  # noqa: E402
from formats.people import people  # noqa: E402

from data_pipelines import build as command  # noqa: E402
from data_pipelines import records  # noqa: E402
from data_pipelines.build import build  # noqa: E402
from data_pipelines.builders.datasets import rich  # noqa: E402
from data_pipelines.builders.labels.source_images import ImageFinder, SourceImage  # noqa: E402
from data_pipelines.inspect import inspect  # noqa: E402
from data_pipelines.precompute_depth import images_by_name, precompute  # noqa: E402
from data_pipelines.sources import make_source  # noqa: E402
from hmr_jax import cli  # noqa: E402
from hmr_jax.config import AugmentConfig, Config, DataConfig, DatasetConfig  # noqa: E402
from hmr_jax.depth import DepthMap  # noqa: E402


def paint(folder, orientation=1):
    """Replaces every image by hills of grey that no two of them share, under an orientation that labels ignore."""
    found = images_by_name([folder])
    for number, path in enumerate(found.values()):
        with Image.open(path) as image:
            (width, height), kind = image.size, image.format
        y, x = np.mgrid[:height, :width]
        hills = 0.55 + 0.2 * np.sin(x / 9 + number) + 0.2 * np.cos(y / 12 + x / 40 + 2 * number)
        grey = np.repeat(np.rint(255 * hills).astype(np.uint8)[..., None], 3, 2)
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(grey).save(path, kind, quality=97, exif=exif)
    return found


def grey_is_near(images, paths):
    """A provider for which an image is its own inverse depth."""
    return [DepthMap.from_values(image.mean(-1)) for image in images]


def image_of(record):
    return Image.open(io.BytesIO(record["image/encoded"]))


def difference(record, shift=0):
    """Mean difference of the stored depth, moved by some pixels, from the stored image, which is the same."""
    depth = np.roll(records.decode_depth(record["depth/encoded"], record["depth/kind"]), shift, 1)
    grey = np.asarray(image_of(record), float).mean(-1)
    return np.abs(grey - depth * (grey * depth).sum() / (depth**2).sum()).mean() / 255


@pytest.mark.parametrize(
    ("name", "write", "options"),
    [
        ("camerahmr_npz/aic", camerahmr_npz.write, {}),
        ("camerahmr_npz/aic", camerahmr_npz.write, {"limit": 64}),
        ("bedlam", lambda folder: bedlam.write(folder, "smpl"), {"body": "default"}),  # one scene lies on its side
        ("emdb/emdb1", emdb.write, {}),
        ("human36m/raw", human36m.write, {}),
        ("mlb_pitch", mlb_pitch.write, {}),
        ("mpi_inf_3dhp", mpi_inf_3dhp.write, {"cameras": (0, 8)}),
        ("three_dpw", three_dpw.write, {}),
    ],
)
def test_depth_lies_on_the_image_that_it_was_made_for(tmp_path, name, write, options):
    write(tmp_path / "m")
    images = paint(tmp_path / "m")
    assert precompute(images, grey_is_near, "grey", tmp_path / "depths") == []
    report = build(name, tmp_path / "o", tmp_path / "m", depth_dir=str(tmp_path / "depths"), workers=1, **options)
    for split, counts in report.items():
        assert counts["kept"] > 0
        assert counts["depth"] == {"with a map": counts["kept"]}
        for record in read(tmp_path / "o", name, split):
            assert record["depth/kind"] == "inverse"
            assert difference(record) < 0.012
            assert difference(record, 2) > 0.02  # so a shift would show


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_map_is_rotated_back_where_exif_rotates_the_image(tmp_path, orientation):
    (tmp_path / "m").mkdir()
    Image.new("RGB", (60, 40)).save(tmp_path / "m" / "a.jpg")
    (path,) = paint(tmp_path / "m", orientation).values()
    precompute({"a": path}, grey_is_near, "grey", tmp_path)
    upright = np.load(tmp_path / "a.npz")["depth"].astype(np.float32)
    oriented = SourceImage(path).oriented(upright)
    assert oriented.shape == (40, 60)
    raw = np.asarray(Image.open(path), float).mean(-1)
    np.testing.assert_allclose(oriented / oriented.max(), raw / raw.max(), atol=0.01)
    once = SourceImage(path, rotation=90).oriented(upright)
    np.testing.assert_array_equal(once, np.rot90(oriented, -1))


def test_images_in_tars_have_the_maps_of_the_unpacked_tars(tmp_path):
    folder = tmp_path / "m" / "aic-train-vitpose"
    hmr2_tars.write(tmp_path / "m")
    for path in folder.glob("*.tar"):
        with tarfile.open(path) as archive:
            archive.extractall(tmp_path / "unpacked" / folder.name / path.stem, filter="data")
    precompute(images_by_name([tmp_path / "unpacked"]), grey_is_near, "grey", tmp_path / "depths")
    report = build("hmr2_tars/aic", tmp_path / "o", tmp_path / "m", body="default", depth_dir=str(tmp_path / "depths"))
    assert report["train"]["depth"] == {"with a map": report["train"]["kept"]}
    for record in read(tmp_path / "o", "hmr2_tars/aic", "train"):
        assert difference(record) < 0.5 * difference(record, 2)


def test_rich_says_where_its_images_are(tmp_path):
    """Its builder is left out above, as the fit of its bodies takes long."""
    Image.new("RGB", (4, 4)).save(tmp_path / "00017_00.png")
    find_image = ImageFinder(epath.Path(tmp_path), endings=rich.OTHER_ENDINGS)
    assert find_image("00017_00.bmp").path == tmp_path / "00017_00.png"


@pytest.fixture
def some_maps(tmp_path):
    """A manual folder with images of three people, and maps for the first and third that say the same."""
    camerahmr_npz.write(tmp_path / "m")  # its fourth person is in the third image, too
    grey = people()["image"][:3].mean(-1) + 1
    folder = tmp_path / "depths" / "images" / "aic"
    folder.mkdir(parents=True)
    np.savez(folder / "000.npz", depth=grey[0], kind="inverse")
    np.savez(folder / "002.npz", depth=1 / grey[2], kind="metric")
    return tmp_path


def test_people_without_a_usable_map_are_kept_without_depth_and_counted(some_maps):
    folder, depths = some_maps / "depths" / "images" / "aic", str(some_maps / "depths")

    def built(number):
        report = build("camerahmr_npz/aic", some_maps / str(number), some_maps / "m", depth_dir=depths)["train"]
        assert report["kept"] == 4
        kinds = [record["depth/kind"] for record in read(some_maps / str(number), "camerahmr_npz/aic", "train")]
        return report["depth"], kinds

    some = ["inverse", "none", "inverse", "inverse"]
    assert built(0) == ({"with a map": 3, "no map": 1}, some)
    np.save(folder / "001.npy", np.ones((159, 160)))
    assert built(1) == ({"with a map": 3, "map not of the image's size": 1}, some)
    np.save(folder / "001.npy", np.zeros((160, 160)))
    assert built(2) == ({"with a map": 3, "nothing known around the person": 1}, some)
    (folder / "001.npy").write_bytes(b"no map")
    assert built(3) == ({"with a map": 3, "map cannot be read": 1}, some)
    (folder / "001.npy").unlink()
    Image.fromarray(np.full((160, 160), 999, np.uint16)).save(folder / "001.png")
    assert built(4) == ({"with a map": 4}, ["inverse"] * 4)


def test_training_batches_show_the_depth_of_those_who_have_it(some_maps):
    depths = str(some_maps / "depths")
    build("camerahmr_npz/aic", some_maps / "o", some_maps / "m", body="default", depth_dir=depths)
    data = DataConfig(
        directory=str(some_maps / "o"), datasets=(DatasetConfig("camerahmr_npz/aic"),), crop_size=64,
        pseudo_depth=True, workers=1, augment=AugmentConfig(color=0.0, rotation_probability=0.0),
    )  # fmt: skip
    batches = make_source(Config(batch_size=8, data=data), "train")(0)
    batch = next(batches)
    batches.close()
    assert batch["valid"].all()
    has = (np.abs(batch["betas"] - people()["betas"][1]) > 1e-4).any(1)  # the one without a map
    assert {True, False} == set(has.tolist())
    np.testing.assert_array_equal(batch["has_pseudo_depth"], has)
    for shown, image, depth in zip(has, batch["image"], batch["pseudo_depth"], strict=True):
        assert depth.any() == shown
        if shown:  # the metric map has become inverse: where the image is bright, it is near
            inside = depth > 0
            assert np.corrcoef(image.mean(-1)[inside], depth[inside])[0, 1] > 0.9


def test_maps_mirror_the_folder_of_images_where_that_is_named(some_maps):
    (some_maps / "m" / "images").rename(some_maps / "images")
    options = {"images": str(some_maps / "images"), "depth_dir": str(some_maps / "depths" / "images")}
    report = build("camerahmr_npz/aic", some_maps / "o", some_maps / "m", **options)["train"]
    assert report["depth"] == {"with a map": 3, "no map": 1}


def test_the_command_takes_the_folder_of_maps_and_says_what_is_wrong_with_it(some_maps, capsys):
    common = ["--manual-dir", str(some_maps / "m"), "--data-dir", str(some_maps / "o"), "--workers", "1", "--depth-dir"]
    file = some_maps / "depths" / "images" / "aic" / "000.npz"
    for name, maps, message in (
        ("camerahmr_npz/aic", some_maps / "nowhere", "There is no depth file or folder"),
        ("camerahmr_npz/aic", file, "depth_dir must be a folder of depth maps"),
        ("synthetic_people", some_maps / "depths", "'synthetic_people' has no option 'depth_dir'"),
    ):
        with pytest.raises(SystemExit, match="2"):
            cli.run(command.main, "build", [name, *common, str(maps)])
        assert message in capsys.readouterr().err
    cli.run(command.main, "build", ["camerahmr_npz/aic", *common, f"disk-metric:{some_maps / 'depths'}"])
    printed = capsys.readouterr().out
    assert "3 depth: with a map" in printed
    assert "1 depth: no map" in printed
    assert "depth: no map" in inspect("camerahmr_npz/aic", some_maps / "o", images=1).read_text()
