"""Pseudo-depth in batches: cut as the image is, wrong in a reproducible way, and marked where there is none."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from data_pipelines import precompute_depth, records
from data_pipelines.loading.examples import ExampleMaker
from data_pipelines.loading.pseudo_depth import EXACT, fill_background, pseudo_depth, stored_depth
from data_pipelines.records.reader import BadRecord, decode_person
from data_pipelines.synthetic.people import SyntheticPeople
from data_pipelines.synthetic.source import make_batch, synthetic_source
from hmr_jax import batch as contract
from hmr_jax import cli
from hmr_jax.config import AugmentConfig, Config, DataConfig, DepthCorruptionConfig
from hmr_jax.depth import DepthMap, crop_depth, read_depth
from hmr_jax.depth.providers import DiskDepth

SIDE, CROP = 64, 32
CONFIG = DepthCorruptionConfig()
BALL = np.hypot(*(np.mgrid[:SIDE, :SIDE] - 31.5)) < 20


class Rows(list):
    """Records in memory, standing in for a reader."""

    name, split = "rows", "train"


def record(key="0", **changes):
    """A person whose image is its own inverse depth, without colours."""
    inverse = np.linspace(0.2, 1, SIDE)[None] * np.linspace(0.5, 1, SIDE)[:, None]
    image = np.repeat(np.rint(255 * inverse).astype(np.uint8)[..., None], 3, 2)
    fields = {
        "key": key, "dataset": "d", "box_center": [30, 33], "box_size": 40,
        "keypoints_2d": np.ones((44, 3)) * [30, 30, 1], "keypoints_3d": np.ones((44, 4)) * [0, 0, 3, 1],
        "mask": BALL, "depth": inverse, "depth_kind": "inverse", "quality": 98,
    }  # fmt: skip
    return records.encode(image, **(fields | changes))


def batch_of(rows, augmentation=None, corruption=EXACT, numbers=None, **options):
    numbers = np.arange(len(rows)) if numbers is None else numbers
    maker = ExampleMaker(
        [Rows(rows)], lambda n: (np.zeros_like(n), n), CROP, augmentation=augmentation, depth_corruption=corruption,
        **options,
    )  # fmt: skip
    made = maker(numbers)
    assert set(made) == set(maker.names)
    contract.check(made)
    return made


def test_depth_is_warped_with_the_image_but_not_coloured():
    rows = [record(str(i)) for i in range(12)]
    changes = AugmentConfig(color=0.0, rotation_probability=1.0, shift=0.2)
    made = batch_of(rows, changes)
    assert made["has_pseudo_depth"].all()
    for image, depth in zip(made["image"][..., 0].astype(float), made["pseudo_depth"].astype(float), strict=True):
        known = (image > 0) & (depth > 0)
        both = image[known], depth[known]
        assert known.mean() > 0.3
        assert np.corrcoef(*both)[0, 1] > 0.99  # mirrored, rotated and shifted alike: the image is the depth
    brighter = batch_of(rows, dataclasses.replace(changes, color=0.4))
    assert (brighter["image"] != made["image"]).any()
    np.testing.assert_array_equal(brighter["pseudo_depth"], made["pseudo_depth"])


def test_inverse_depth_shows_near_bright_and_metric_depth_becomes_inverse():
    inverse = record()
    metric = record(
        depth=2 / np.maximum(records.decode_depth(inverse["depth/encoded"], "inverse"), 1e-3), depth_kind="metric"
    )
    made = batch_of([inverse, metric])
    near, far = made["pseudo_depth"][0, -1, -1], made["pseudo_depth"][0, 0, 0]
    assert near > 200 > 50 > far
    difference = made["pseudo_depth"][0].astype(int) - made["pseudo_depth"][1]
    assert np.abs(difference).max() <= 2
    # what prediction shows of the same square is the same
    depth = DepthMap(records.decode_depth(inverse["depth/encoded"], "inverse"))
    cut, has = crop_depth(depth, np.array([30.0, 33.0]), 40.0, CROP)
    assert has
    assert (np.abs(cut.astype(int) - made["pseudo_depth"][0]) > 3).mean() < 0.05


@pytest.mark.parametrize(
    "depth", [None, np.zeros((SIDE, SIDE)), np.full((SIDE, SIDE), np.nan), np.full((SIDE, SIDE), -1.0)]
)
def test_records_without_usable_depth_are_marked_and_train_on(depth):
    made = batch_of([record(depth=depth), record()])
    assert made["has_pseudo_depth"].tolist() == [0, 1]
    assert not made["pseudo_depth"][0].any()
    assert made["valid"].all()
    assert batch_of([record(depth=depth)])["pseudo_depth"].shape == (1, CROP, CROP)  # no map in the whole batch


def test_a_map_of_another_size_than_the_image_is_a_bad_record_with_a_reason():
    wrong = record(depth=np.ones((SIDE // 2, SIDE)))
    with pytest.raises(BadRecord, match="the depth map is 64x32 but the image 64x64"):
        decode_person(wrong, pseudo_depth=True)
    assert decode_person(wrong).pseudo_depth is None  # nobody asked
    with pytest.raises(BadRecord, match="the mask is 9x9 but the image 64x64"):
        decode_person(record(mask=np.ones((9, 9))), dense=("mask",))
    with pytest.raises(BadRecord, match="an image cannot be decoded"):
        decode_person(record() | {"depth/encoded": b"no image"}, pseudo_depth=True)
    assert records.problems(wrong) == ["depth: not of the image's size"]
    assert records.problems(record(mask=np.ones((9, 9)))) == ["mask: not of the image's size"]
    assert records.problems(record()) == []
    made = batch_of([wrong, record("1")], examples=2)
    assert made["valid"].tolist() == [0, 1]


def exact_depth(count):
    bump = 3 - 0.3 * np.sqrt(np.maximum(0, 1 - ((np.mgrid[:SIDE, :SIDE] - 31.5) ** 2).sum(0) / 20**2))
    return [np.where(BALL, bump, 0).astype(np.float32)] * count


def test_corruption_belongs_to_the_number_of_the_example():
    numbers = np.arange(40)
    whole = pseudo_depth(exact_depth(40), ["metric"] * 40, SIDE, CONFIG, 3, numbers, True)
    assert 0 < (whole["has_pseudo_depth"] == 0).sum() < 12
    part = pseudo_depth(exact_depth(5), ["metric"] * 5, SIDE, CONFIG, 3, numbers[[7, 2, 30, 11, 2]], True)
    np.testing.assert_array_equal(part["pseudo_depth"], whole["pseudo_depth"][[7, 2, 30, 11, 2]])
    assert len({image.tobytes() for image in whole["pseudo_depth"]}) > 28
    other = pseudo_depth(exact_depth(40), ["metric"] * 40, SIDE, CONFIG, 4, numbers, True)
    assert (other["pseudo_depth"] != whole["pseudo_depth"]).any()
    evaluation = pseudo_depth(exact_depth(40), ["metric"] * 40, SIDE, CONFIG, 3, numbers, False)
    assert evaluation["has_pseudo_depth"].all()
    seen = whole["has_pseudo_depth"] == 1
    np.testing.assert_array_equal(evaluation["pseudo_depth"][seen], whole["pseudo_depth"][seen])


@pytest.mark.parametrize("name", ["background", "scale", "shift", "blur", "missing", "noise"])
def test_every_kind_of_corruption_does_what_it_says(name):
    numbers, count = np.arange(16), 16
    strength = {"background": 1.0, "scale": 0.2, "shift": 0.2, "blur": 0.1, "missing": 1.0, "noise": 0.2}[name]

    def maps(config):
        return pseudo_depth(exact_depth(count), ["metric"] * count, SIDE, config, 0, numbers, True)["pseudo_depth"]

    exact, changed = maps(EXACT), maps(dataclasses.replace(EXACT, **{name: strength}))
    assert sum((a != b).any() for a, b in zip(exact, changed, strict=True)) >= 12 - 2 * (name == "missing")
    outside = changed[:, ~BALL]
    if name == "background":
        assert (outside > 0).mean() > 0.5
        assert changed[:, 0].mean() < changed[:, -1].mean()  # the floor comes nearer downwards
    elif name == "missing":
        gone = (changed == 0) & (exact > 0)
        assert (gone.sum((1, 2)) > 0).sum() >= 8
        np.testing.assert_array_equal(changed[~gone], exact[~gone])
    elif name == "blur":
        assert outside.any()
    else:
        assert not outside.any()  # unknown stays unknown


def test_inverse_depth_in_a_record_is_a_networks_and_stays_as_it_is():
    rows = [record(str(i)) for i in range(8)]
    exact, corrupted = batch_of(rows), batch_of(rows, corruption=dataclasses.replace(CONFIG, absent=0.0))
    np.testing.assert_array_equal(exact["pseudo_depth"], corrupted["pseudo_depth"])


def test_a_floor_and_a_wall_stand_behind_the_person():
    depth = exact_depth(1)[0]
    filled = fill_background(depth, horizon=1.0, wall=2.0)
    np.testing.assert_array_equal(filled[BALL], depth[BALL])
    assert filled[0, 0] == pytest.approx(depth.max() + 2)  # the wall
    feet = np.flatnonzero(BALL.any(1))[-1]
    assert filled[feet, 0] == pytest.approx(depth[feet][depth[feet] > 0].mean())
    assert (np.diff(filled[feet:, 0]) < 0).all()
    np.testing.assert_array_equal(fill_background(np.zeros((4, 4)), 1, 1), 0)


def test_synthetic_people_have_depth_that_shows_them(monkeypatch):
    config = Config(batch_size=4, data=DataConfig(source="synthetic", crop_size=64, pseudo_depth=True, workers=1))
    batches = synthetic_source(config, "validation", examples=4)(0)
    batch = next(batches)
    batches.close()
    contract.check(batch)
    assert batch["has_pseudo_depth"].all()
    exact = dataclasses.replace(config, data=dataclasses.replace(config.data, depth_corruption=EXACT))
    people = SyntheticPeople(size=64, seed=1)
    drawn, made = people.batch(range(4)), make_batch(people, np.arange(4), exact, training=False)
    people.close()
    for depth, levels in zip(drawn["depth"], made["pseudo_depth"].astype(float), strict=True):
        on = (depth > 0) & (levels > 0) & (levels < 255)
        assert not levels[depth == 0].any()
        assert np.corrcoef(1 / depth[on], levels[on])[0, 1] > 0.999
    assert (batch["pseudo_depth"] != made["pseudo_depth"]).any()


def test_precomputed_maps_are_stored_with_the_part_of_the_image():
    depth = DepthMap(np.linspace(1, 3, 40 * 60).reshape(40, 60).astype(np.float32), "metric")
    arguments = stored_depth(depth, (10, -5, 50, 35), (20, 20))
    assert arguments["depth_kind"] == "inverse"
    assert arguments["depth"].shape == (20, 20)
    assert not arguments["depth"][:2].any()  # above the image
    nearest = arguments["depth"][3:].argmax()
    assert nearest == 0  # metres grow to the lower right
    row = record(depth=np.ones((SIDE, SIDE)), **{"depth_kind": "inverse"}) | {}
    whole = stored_depth(DepthMap(np.random.default_rng(0).uniform(0, 9, (SIDE, SIDE)).astype(np.float32)))
    row = record(**whole)
    assert records.problems(row) == []
    assert batch_of([row])["has_pseudo_depth"][0] == 1
    assert stored_depth(None) == {}
    assert stored_depth(DepthMap(np.zeros((4, 4), np.float32))) == {}
    assert stored_depth(depth, (100, 100, 120, 120)) == {}


def test_precomputing_goes_on_where_it_was_ended_and_survives_bad_images(tmp_path, capsys, monkeypatch):
    images, maps, out = tmp_path / "images", tmp_path / "maps", tmp_path / "out"
    images.mkdir(), maps.mkdir()
    for name in "abcd":
        Image.new("RGB", (6, 4)).save(images / f"{name}.png")
        np.save(maps / f"{name}.npy", np.arange(24).reshape(4, 6))
    (images / "b.png").write_bytes(b"no image")
    np.save(maps / "c.npy", np.zeros((3, 3)))
    (maps / "d.npy").unlink()
    command = [str(images), "--provider", f"disk-metric:{maps}", "--out", str(out)]
    with pytest.raises(SystemExit, match="2"):
        cli.run(precompute_depth.main, "precompute_depth", command)
    message = capsys.readouterr().err
    assert "b.png is not an image" in message
    assert "c.npy is 3x3 but its image 6x4" in message
    assert "no depth of" in message
    assert message.endswith("error: 3 of 4 images were left out.\n")
    assert [path.name for path in out.iterdir()] == ["a.npz"]
    first = read_depth(out / "a.npz")
    assert first.kind == "metric"
    np.testing.assert_allclose(first.values, np.arange(24).reshape(4, 6), rtol=1e-3)

    (images / "b.png").unlink(), (images / "d.png").unlink()
    np.save(maps / "c.npy", np.ones((4, 6)))
    asked = []
    original = DiskDepth.__call__
    monkeypatch.setattr(
        DiskDepth, "__call__", lambda self, images, paths: asked.extend(paths) or original(self, images, paths)
    )
    cli.run(precompute_depth.main, "precompute_depth", command)
    assert [path.name for path in asked] == ["c.png"]  # a.png has its map
    assert sorted(path.name for path in out.iterdir()) == ["a.npz", "c.npz"]
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        cli.run(precompute_depth.main, "precompute_depth", [str(images), "--provider", "disc:x", "--out", str(out)])
    assert "'disc:x' names no depth provider; did you mean 'disk'" in capsys.readouterr().err


def test_images_that_share_a_name_are_not_mixed_up(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("a.png", "b/a.jpg"):
        Image.new("RGB", (6, 4)).save(tmp_path / name)
    with pytest.raises(ValueError, match="have the same name"):
        precompute_depth.images_by_name([tmp_path / "a.png", tmp_path / "b"])


def test_maps_lie_in_folders_as_their_images_do(tmp_path):
    for name in ("a.png", "b/a.png", "b/c/a.jpg"):
        (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4)).save(tmp_path / "m" / name)
    images = precompute_depth.images_by_name([tmp_path / "m"])

    def provider(images, paths):
        return [
            DepthMap(np.full((4, 6), len(path.parts) - len(tmp_path.parts), np.float32), "metric") for path in paths
        ]

    assert precompute_depth.precompute(images, provider, "", tmp_path / "out") == []
    files = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert [str(path.relative_to(tmp_path / "out")) for path in files] == ["a.npz", "b/a.npz", "b/c/a.npz"]
    assert [read_depth(path).values[0, 0] for path in files] == [2, 3, 4]
    with pytest.raises(ValueError, match="cannot tell them apart"):  # maps that are known by file names alone
        precompute_depth.precompute(images, DiskDepth(str(tmp_path)), "", tmp_path / "more")
