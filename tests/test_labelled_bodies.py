"""The bodies behind labels are those of the files that are there now."""

import gc

import numpy as np
from test_prepare import BODY, built_in

from hmr_jax.body.labelled import LabelledBodies, load_labelled_bodies

POSE, BETAS = np.zeros((1, 72)), np.zeros((1, 10))


def taller(folder, name, factor):
    regressors = {f"regressor_{key}": BODY.regressors[key] for key in ("j19", "h36m")}
    faces = np.resize(BODY.faces[:, ::-1], (13776, 3))
    return built_in(folder, name, v_template=BODY.v_template * np.float32(factor), f=faces, **regressors)


def height(bodies):
    points = bodies.keypoints("n", POSE, BETAS)[0]
    return float(np.ptp(points[:, 1]))


def test_each_body_gives_its_own_keypoints_whatever_was_freed_before(tmp_path):
    factors = np.linspace(0.8, 1.2, 6)
    paths = [taller(tmp_path, f"{i}.npz", factor) for i, factor in enumerate(factors)]
    heights = []
    for path in paths:
        heights.append(height(LabelledBodies(str(path))))
        gc.collect()
    np.testing.assert_allclose(np.divide(heights, heights[0]), factors / factors[0], rtol=1e-4)
    again = [height(load_labelled_bodies(str(path))) for path in (*paths, *paths)]  # more than are kept
    np.testing.assert_allclose(again, heights * 2, rtol=1e-6)


def test_a_file_that_was_replaced_is_read_again(tmp_path):
    folder = str(tmp_path)
    taller(tmp_path, "SMPL_NEUTRAL.npz", 1)
    first = height(load_labelled_bodies(folder))
    assert load_labelled_bodies(folder) is load_labelled_bodies(folder)
    taller(tmp_path, "SMPL_NEUTRAL.npz", 1.1)
    np.testing.assert_allclose(height(load_labelled_bodies(folder)), 1.1 * first, rtol=1e-4)
