"""Identities over frames, on boxes made by hand."""

import itertools

import numpy as np
import pytest

pytest.importorskip("av")

from hmr_jax.video.boxes import box_track, shots_of
from hmr_jax.video.cuts import difference, find_cuts, signature
from hmr_jax.video.tracks import as_corners, centers_and_sizes, describe, descriptor_distance, follow

RATE = 25


def walk(start: float, speed: float, frames: int, height: float = 100) -> np.ndarray:
    """(F, 4) of somebody who walks along x with a speed in px per second."""
    x = start + speed * np.arange(frames) / RATE
    return np.stack([x, np.full(frames, 50.0), x + 40, np.full(frames, 50.0 + height)], 1)


def times(frames: int) -> list[float]:
    return (np.arange(frames) / RATE).tolist()


def looks(*colors: int) -> np.ndarray:
    """(n, 192) descriptors of people of whom nothing is alike."""
    made = np.zeros((len(colors), 3, 64), np.float32)
    for row, color in enumerate(colors):
        made[row, :, color] = 1
    return np.sqrt(made / 3).reshape(len(colors), 192)


def owners(tracks, rows: list[np.ndarray]) -> list[set[float]]:
    """Of each track, the heights of its boxes, which tell the people of a test apart."""
    return [{float(rows[f][i][3]) for f, i in zip(t.frames, t.indices, strict=True)} for t in tracks]


def test_one_person_is_one_track():
    rng = np.random.default_rng(0)
    rows = [box[None] + rng.normal(0, 2, (1, 4)) for box in walk(10, 120, 50)]
    (track,) = follow(rows, times(50))
    assert track.frames == list(range(50))


@pytest.mark.parametrize("appearance", [True, False])
def test_people_who_cross_keep_their_identity(appearance):
    one, other = walk(0, 150, 60), walk(360, -150, 60, height=110)
    order = np.random.default_rng(1).permutation([0, 1] * 30)  # the detector's order says nothing
    rows = [np.stack([a, b])[:: 1 - 2 * turn] for a, b, turn in zip(one, other, order, strict=True)]
    descriptors = [looks(3, 9)[:: 1 - 2 * turn] for turn in order] if appearance else None
    tracks = follow(rows, times(60), descriptors=descriptors)
    assert owners(tracks, rows) == [{150.0}, {160.0}] or owners(tracks, rows) == [{160.0}, {150.0}]


def test_who_is_hidden_while_two_cross_comes_back_as_the_same():
    one, other = walk(0, 100, 100), walk(400, -100, 100, height=110)
    rows = [
        np.stack([b]) if abs(a[0] - b[0]) < 35 else np.stack([a, b]) for a, b in zip(one, other, strict=True)
    ]  # who stands behind is not found
    descriptors = [looks(9) if len(row) == 1 else looks(3, 9) for row in rows]
    assert owners(follow(rows, times(100), descriptors=descriptors), rows) == [{150.0}, {160.0}]


@pytest.mark.parametrize(("missing", "count"), [(45, 1), (60, 2)])
def test_gaps_of_two_seconds_are_bridged(missing, count):
    rows = [box[None] for box in walk(10, 10, 160)]
    for frame in range(50, 50 + missing):
        rows[frame] = np.zeros((0, 4))
    assert len(follow(rows, times(160), gap=2.0)) == count


def test_somebody_else_in_a_gap_is_somebody_else():
    rows = [box[None] for box in walk(10, 0, 120)]
    for frame in range(50, 75):
        rows[frame] = np.zeros((0, 4))
    descriptors = [looks(*[3 if frame < 60 else 9] * len(rows[frame])) for frame in range(120)]
    assert [track.frames[0] for track in follow(rows, times(120), descriptors=descriptors)] == [0, 75]


def test_a_cut_ends_all_tracks():
    rows = [np.stack([a, b]) for a, b in zip(walk(0, 0, 40), walk(200, 0, 40), strict=True)]
    cuts = [frame == 20 for frame in range(40)]
    assert [(t.frames[0], t.frames[-1]) for t in follow(rows, times(40), cuts)] == [(0, 19)] * 2 + [(20, 39)] * 2


def test_short_tracks_are_false_but_not_in_a_short_video():
    rows = [box[None] for box in walk(10, 20, 60)]
    for frame in range(30, 34):
        rows[frame] = np.concatenate([rows[frame], [[400, 300, 450, 400]]])
    assert len(follow(rows, times(60))) == 1
    assert len(follow(rows, times(60), shortest=0)) == 2
    assert len(follow(rows[:4], times(4))) == 1


def test_no_people_are_no_tracks():
    assert follow([np.zeros((0, 4))] * 5, times(5)) == []


def test_boxes_between_searches_are_interpolated_without_delay():
    every = walk(10, 120, 60)
    searched = np.arange(0, 60, 3)
    (track,) = follow([every[i][None] for i in searched], (searched / RATE).tolist())
    made = box_track(track, searched, np.array(times(60)), (0, 60), reach=2, steady=True)
    assert made.start == 0
    assert len(made.boxes) == 60
    assert made.visible.all()
    np.testing.assert_allclose(made.boxes[:58], every[:58], atol=0.5)


def test_boxes_in_a_long_gap_are_not_visible_ones():
    rows = [box[None] for box in walk(10, 10, 100)]
    for frame in range(40, 70):
        rows[frame] = np.zeros((0, 4))
    (track,) = follow(rows, times(100))
    made = box_track(track, np.arange(100), np.array(times(100)), (0, 100), reach=0, steady=True)
    assert np.flatnonzero(~made.visible).tolist() == list(range(40, 70))


def test_centers_and_sizes_are_turned_back():
    boxes = walk(3, 7, 5)
    np.testing.assert_allclose(as_corners(centers_and_sizes(boxes)), boxes)


def test_descriptors_tell_colours_apart():
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, :100] = [200, 30, 30]
    image[:, 100:] = [30, 30, 200]
    found = describe(image, np.array([[10, 10, 60, 90], [20, 20, 70, 99], [120, 10, 160, 90], [190, 90, 260, 130]]))
    np.testing.assert_allclose(np.square(found).sum(1), 1, atol=1e-5)
    distances = descriptor_distance(found[0], found)
    assert distances[1] < 0.01 < 0.99 < distances[2]
    assert np.isfinite(distances).all()


def test_cuts_are_found_and_motion_and_noise_are_not():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 255, (2, 30, 40, 3)).astype(np.uint8).repeat(8, 1).repeat(8, 2)
    second //= 3
    frames = [np.roll(first, 3 * i, 1) for i in range(20)] + [np.roll(second, 3 * i, 1) for i in range(20)]
    signatures = [signature(frame) for frame in frames]
    changes = [0.0] + [difference(a, b) for a, b in itertools.pairwise(signatures)]
    cuts = find_cuts(changes)
    assert np.flatnonzero(cuts).tolist() == [20]
    assert shots_of(cuts) == [(0, 20), (20, 40)]
