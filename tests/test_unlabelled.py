"""What has no label never matters: random masks with random junk under them change no metric, loss or gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmr_jax import losses, metrics
from hmr_jax.geometry import similarity_align
from hmr_jax.protocols import get_protocol, keypoint_subject, score

pytestmark = pytest.mark.slow

BATCH, POINTS = 3, 44
UNLABELLED = np.float32([0, 0, -1, np.nan])  # what marks a point without label
JUNK = np.float32([0, np.nan, np.inf, -np.inf, 1e30, -1e30, 3e38, 7])
many = settings(max_examples=25, deadline=None, derandomize=True)


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(0, 0.3, shape).astype(np.float32)


def hide(seed, known, *arrays):
    """The arrays (B, N, ...) with junk where `known` (B, N) is not."""
    rng = np.random.default_rng(seed)
    return [
        np.where(known.reshape(known.shape + (1,) * (array.ndim - known.ndim)), array, rng.choice(JUNK, array.shape))
        for array in arrays
    ]


def drawn(seed):
    """A mask (B, N) whose first sample has no label at all, and the confidence that says so."""
    rng = np.random.default_rng(seed)
    known = rng.random((BATCH, POINTS)) < rng.uniform(0.1, 0.9)
    known[0] = False
    confidence = np.where(known, rng.uniform(0.2, 1.5, known.shape), rng.choice(UNLABELLED, known.shape))
    return known, confidence.astype(np.float32)


align = jax.jit(similarity_align)


@functools.cache
def metric(name):
    def pck_of(pred, true, weights):
        return metrics.pck(1000 * metrics.per_joint_error(pred, true), 300, weights)

    def auc_of(pred, true, weights):
        return metrics.auc(1000 * metrics.per_joint_error(pred, true), np.linspace(0, 600, 31), weights)

    return jax.jit({"pck": pck_of, "auc": auc_of}.get(name) or getattr(metrics, name))


@pytest.mark.parametrize("name", ["mpjpe", "pa_mpjpe", "depth_error", "pa_depth_error", "pck", "auc"])
@given(seed=st.integers(0, 2**32))
@many
def test_metrics_are_those_of_the_labelled_points_alone(name, seed):
    known, weights = drawn(seed)
    pred, true = numbers([seed, 1], BATCH, POINTS, 3), numbers([seed, 2], BATCH, POINTS, 3)
    found = metric(name)(*hide(seed, known, pred, true), weights)
    assert found[0] == 0
    shares = np.where(known, weights, 0)
    np.testing.assert_array_equal(found, metric(name)(pred, true, shares))
    aligned = np.asarray(align(pred, true, shares)) if name.startswith("pa_") else pred
    distance = 1000 * np.linalg.norm(aligned - true, axis=-1)
    values = {
        "mpjpe": distance, "pa_mpjpe": distance, "pck": 100.0 * (distance <= 300),
        "auc": 100 * (distance[..., None] <= np.linspace(0, 600, 31)).mean(-1),
    }.get(name, 1000 * np.abs(aligned - true)[..., 2])  # fmt: skip
    for row in np.flatnonzero(known.any(1)):
        expected = np.average(values[row, known[row]], weights=weights[row, known[row]])
        np.testing.assert_allclose(found[row], expected, rtol=1e-4, atol=1e-3)


def test_gradients_of_metrics_are_finite_where_points_agree_or_have_no_label():
    known, weights = drawn(0)
    pred, true = numbers(1, BATCH, POINTS, 3), numbers(1, BATCH, POINTS, 3)
    pred, true = hide(0, known, pred, true)
    for measure in (metrics.mpjpe, metrics.pa_mpjpe, metrics.depth_error):
        gradient = jax.grad(lambda x, measure=measure: measure(x, true, weights).sum())(pred)
        assert np.isfinite(gradient).all()
        assert not np.asarray(gradient)[~known].any()


@given(seed=st.integers(0, 2**32))
@many
def test_an_alignment_is_that_of_the_labelled_points(seed):
    known, weights = drawn(seed)
    source, target = numbers([seed, 1], BATCH, POINTS, 3), numbers([seed, 2], BATCH, POINTS, 3)
    found = np.asarray(align(*hide(seed, known, source, target), weights))
    clean = np.asarray(align(source, target, np.where(known, weights, 0)))
    np.testing.assert_array_equal(found[known], clean[known])


@given(seed=st.integers(0, 2**32))
@many
def test_the_acceleration_of_a_point_counts_where_three_frames_have_it(seed):
    known = np.random.default_rng(seed).random((BATCH + 5, POINTS)) < 0.8
    known[3] = False
    pred, true = numbers([seed, 1], *known.shape, 3), numbers([seed, 2], *known.shape, 3)
    error, counts = metrics.acceleration_error(*hide(seed, known, pred, true), weights=known)
    assert counts.tolist() == [True, False, False, False, True, True]
    difference = pred - true
    each = np.linalg.norm(difference[2:] - 2 * difference[1:-1] + difference[:-2], axis=-1)
    whole = known[2:] & known[1:-1] & known[:-2]
    expected = [1000 * one[mask].mean() for one, mask in zip(each, whole, strict=True) if mask.any()]
    np.testing.assert_allclose(np.asarray(error)[np.asarray(counts)], expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["3dhp", "coco-pck"])
@given(seed=st.integers(0, 2**32))
@many
def test_a_protocol_scores_the_labelled_points_and_marks_the_others(name, seed):
    protocol, known = get_protocol(name), drawn(seed)[0]
    weights = np.where(known, np.float32(1), np.float32(0))
    size = 3 if protocol.space == "3d" else 2
    known[:, list(protocol.keypoint_root)] = weights[:, list(protocol.keypoint_root)] = 1
    pred, true = numbers([seed, 1], BATCH, POINTS, size), numbers([seed, 2], BATCH, POINTS, size)
    chosen = np.array(protocol.keypoints)
    rows = [
        jax.jit(score, static_argnums=0)(
            protocol, *(keypoint_subject(protocol, side) for side in sides), weights[:, chosen]
        )
        for sides in ((pred, true), hide(seed, known, pred, true))
    ]
    for key, value in rows[0].items():
        np.testing.assert_array_equal(value, rows[1][key], err_msg=key)
    assert not rows[1]["failed"].any()  # a system need not predict a point that nobody labelled
    np.testing.assert_array_equal(np.isfinite(rows[1]["per_joint"]), known[:, chosen])


# ---- losses

DENSE = (6, 8, 6)


def cases(seed):
    """name: (loss of prediction, label and what says which labels count; prediction; label; mask of the label)."""
    known, confidence = drawn(seed)
    rng = np.random.default_rng(seed)
    has = known.any(1)
    root = rng.random(BATCH) < 0.6
    known_3d, confidence_3d = known.copy(), confidence.copy()
    known_3d[:, 39], confidence_3d[:, 39] = root, root
    known_3d &= root[:, None]

    def with_confidence(points, weights):
        return jnp.concatenate([points, weights[..., None]], -1)

    def rle(pred, label, compat):
        mu, sigma = pred[..., :3], jnp.exp(pred[..., 3:])
        target = with_confidence(label, confidence)
        e = losses.normalized_error(mu, sigma, target)
        return losses.residual_log_likelihood_loss(mu, sigma, target, -0.5 * (e**2).sum(-1), compat)

    every = np.ones((BATCH, *DENSE[:2]), bool) & has[:, None, None]
    parts = rng.integers(0, 3, (BATCH, *DENSE[:2]))
    return {
        "keypoint_2d": (
            lambda pred, label: losses.keypoint_2d_loss(pred, with_confidence(label, confidence)),
            numbers([seed, 1], BATCH, POINTS, 2), numbers([seed, 2], BATCH, POINTS, 2), known,
        ),
        "keypoint_3d": (
            lambda pred, label: losses.keypoint_3d_loss(pred, with_confidence(label, confidence_3d)),
            numbers([seed, 1], BATCH, POINTS, 3), numbers([seed, 2], BATCH, POINTS, 3), known_3d,
        ),
        "parameter": (
            lambda pred, label: losses.parameter_loss(pred, label, np.where(has, np.float32(1), np.nan)),
            numbers([seed, 1], BATCH, 24, 3, 3), numbers([seed, 2], BATCH, 24, 3, 3), has,
        ),
        "vertex": (
            lambda pred, label: losses.vertex_loss(pred, label, has.astype(np.float32)),
            numbers([seed, 1], BATCH, 9, 3), numbers([seed, 2], BATCH, 9, 3), has,
        ),
        "rle": (functools.partial(rle, compat=False),
                numbers([seed, 1], BATCH, POINTS, 6), numbers([seed, 2], BATCH, POINTS, 3), known),
        "rle as released": (functools.partial(rle, compat=True),
                            numbers([seed, 1], BATCH, POINTS, 6), numbers([seed, 2], BATCH, POINTS, 3), known),
        "heatmap": (
            lambda pred, label: losses.heatmap_loss(pred, with_confidence(label, confidence)),
            numbers([seed, 1], BATCH, *DENSE[:2], POINTS), numbers([seed, 2], BATCH, POINTS, 2), known,
        ),
        "depth": (
            lambda pred, label: losses.depth_loss(pred, label, parts, has.astype(np.float32)),
            numbers([seed, 1], BATCH, *DENSE[:2]), numbers([seed, 2], BATCH, *DENSE[:2]), every & (parts > 0),
        ),
        "silhouette": (
            lambda pred, label: losses.silhouette_loss(pred, label, has.astype(np.float32)),
            numbers([seed, 1], BATCH, *DENSE[:2]), numbers([seed, 2], BATCH, *DENSE[:2]), every,
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(cases(0)))
@given(seed=st.integers(0, 2**32))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_losses_and_gradients_depend_on_no_label_that_is_not_there(name, seed):
    loss, pred, label, known = cases(seed)[name]
    (junk,) = hide(seed, known, label)

    def both(label):
        return jax.value_and_grad(lambda pred: (total := loss(pred, label)).sum() + 0 * total[0])(pred)

    (value, gradient), (expected, wanted) = both(junk), both(label)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(gradient, wanted)
    assert loss(pred, junk)[0] == 0  # the first sample has no label at all


@pytest.mark.parametrize("name", ["keypoint_2d", "keypoint_3d", "parameter", "vertex", "rle", "depth", "silhouette"])
def test_predictions_without_a_label_may_be_anything_too(name):
    loss, pred, label, known = cases(3)[name]
    if name == "keypoint_3d":  # the prediction's root moves every point
        known = known | (np.arange(POINTS) == 39)
    (junk,) = hide(3, known, pred)
    if name == "rle":
        junk[..., 3:] = pred[..., 3:]  # the test's own exponential, of which sigma is made
    value, gradient = jax.value_and_grad(lambda pred: loss(pred, label).sum())(junk)
    np.testing.assert_array_equal(value, loss(pred, label).sum())
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["keypoint_2d", "keypoint_3d", "parameter", "vertex", "rle", "heatmap", "depth"])
def test_a_label_that_counts_and_is_not_finite_is_not_hidden(name):
    loss, pred, label, known = cases(3)[name]
    broken = label.copy()
    broken[tuple(np.argwhere(known)[0])] = np.nan
    assert np.isnan(loss(pred, broken)).any()


def test_parts_without_label_may_be_anything():
    logits = numbers(0, 2, 4, 3, 5)
    parts = np.random.default_rng(0).integers(0, 5, (2, 4, 3)).astype(np.uint8)
    junk = np.where(np.array([1, 0])[:, None, None] > 0, parts, 255).astype(np.uint8)

    def both(labels):
        return jax.value_and_grad(lambda x: losses.part_loss(x, labels, np.float32([1, 0])).sum())(logits)

    for one, two in zip(both(junk), both(parts), strict=True):
        np.testing.assert_array_equal(one, two)
        assert np.isfinite(one).all()


def test_the_3d_loss_of_a_sample_without_root_label_is_0():
    """The prediction is right, the label of its pelvis is missing: zeros, which lie two metres away."""
    true = numbers(0, 2, POINTS, 3) + np.float32([0, 0, 3])
    target = np.concatenate([true, np.ones((2, POINTS, 1), np.float32)], -1)
    target[0, 39] = 0
    found = losses.keypoint_3d_loss(true + np.float32([1, 2, 3]), target)
    np.testing.assert_allclose(found, 0, atol=1e-4)
    assert found[0] == 0
    other = losses.keypoint_3d_loss(true + np.float32(0.1) * (np.arange(POINTS)[:, None] == 27), target, root=28)
    np.testing.assert_allclose(other, [0.3, 0.3], atol=1e-4)  # another root serves where it is labelled


def test_confidence_above_1_weighs_as_much_as_it_says():
    """ViTPose's and OpenPose's exceed 1, and HMR2.0 multiplies by them."""
    target = np.concatenate([np.zeros((1, POINTS, 2)), np.full((1, POINTS, 1), 1.25)], -1).astype(np.float32)
    np.testing.assert_allclose(losses.keypoint_2d_loss(np.ones((1, POINTS, 2)), target), 1.25 * 2 * POINTS, rtol=1e-6)
