"""Motions as USD: baked by USD's own skinning they give the same bodies."""

import numpy as np
import pytest
from test_animation import moving  # noqa: F401 - a fixture

from hmr_jax.rendering.export import AXES
from hmr_jax.rendering.usd import write_usd

pxr = pytest.importorskip("pxr")


@pytest.mark.parametrize(("axes", "suffix"), [("opengl", "usdc"), ("blender", "usda")])
def test_usds_own_skinning_gives_the_same_bodies(moving, tmp_path, axes, suffix):  # noqa: F811
    from pxr import Usd, UsdGeom, UsdSkel

    rig, motion, posed = moving
    path = tmp_path / f"person.{suffix}"
    write_usd(path, rig, motion, 30.0, axes=axes)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    stage = Usd.Stage.Open(str(path))
    assert UsdGeom.GetStageUpAxis(stage) == {"opengl": "Y", "blender": "Z"}[axes]
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1
    seconds = [stage.GetStartTimeCode() / 30, stage.GetEndTimeCode() / 30]
    np.testing.assert_allclose(seconds, motion.times[[0, -1]] - motion.times[0], atol=1e-9)
    assert UsdSkel.BakeSkinning(Usd.PrimRange(stage.GetPseudoRoot()))
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath("/person/body"))
    np.testing.assert_array_equal(np.reshape(mesh.GetFaceVertexIndicesAttr().Get(), (-1, 3)), rig.faces)
    for code, vertices in zip((motion.times - motion.times[0]) * 30, posed.vertices, strict=True):
        points = np.array(mesh.GetPointsAttr().Get(float(code)))
        matrix = np.array(UsdGeom.XformCache(float(code)).GetLocalToWorldTransform(mesh.GetPrim()))
        world = points @ matrix[:3, :3] + matrix[3, :3]
        np.testing.assert_allclose(world, np.asarray(vertices) @ AXES[axes].T, atol=1e-5)


def test_axes_that_usd_does_not_know_are_refused(moving, tmp_path):  # noqa: F811
    rig, motion, _ = moving
    with pytest.raises(ValueError, match="Y or Z up"):
        write_usd(tmp_path / "person.usdc", rig, motion, 30.0, axes="opencv")
    assert not list(tmp_path.iterdir())
