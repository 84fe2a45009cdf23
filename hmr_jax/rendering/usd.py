"""Motions as USD: a skinned mesh, its skeleton and the motion, as UsdSkel has them. It needs `usd-core`.

Shapes: V vertices, J joints, T frames.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from hmr_jax.rendering.animation import Animation, Rig, continuous
from hmr_jax.rendering.export import AXES, Axes


def check_usd(axes: Axes) -> None:
    """Raises ImportError if usd-core is not installed, ValueError if the axes are not USD's."""
    try:
        import pxr  # noqa: F401
    except ImportError as error:
        raise ImportError("USD files need usd-core: pip install usd-core, or leave usd out.") from error
    if axes == "opencv":
        raise ValueError("USD has Y or Z up: choose --axes opengl or blender, or leave usd out.")


def write_usd(
    path: Path,
    rig: Rig,
    motion: Animation,
    rate: float,
    color: Sequence[float] = (0.6, 0.65, 0.75),
    axes: Axes = "opengl",
) -> None:
    """Writes a skeleton with its motion, and the mesh that it moves, in metres.

    Args:
        path: of the file, .usdc, .usda or .usd.
        rig: the body.
        motion: of the body.
        rate: time codes per second; the motion's times are kept.
        color: RGB in [0, 1].
        axes: of the file: "opengl" has Y up, "blender" Z up.

    Raises:
        ImportError: usd-core is not installed.
        ValueError: the axes are "opencv", with Y down, which USD does not know.
    """
    check_usd(axes)
    from pxr import Gf, Usd, UsdGeom, UsdSkel, Vt

    names: list[str] = []
    for name, parent in zip(rig.names, rig.parents, strict=True):
        names.append(f"{names[parent]}/{name}" if parent >= 0 else name)
    codes = (motion.times - motion.times[0]) * rate
    quaternions = Rotation.from_rotvec(motion.rotations.reshape(-1, 3)).as_quat()
    quaternions = quaternions.reshape(*motion.rotations.shape[:2], 4)
    quaternions = np.stack([continuous(turns) for turns in np.moveaxis(quaternions, 1, 0)], 1)
    offsets = rig.joints - np.array([rig.joints[parent] if parent >= 0 else np.zeros(3) for parent in rig.parents])

    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as folder:
        part = Path(folder) / path.name  # the suffix tells USD the format
        stage: Any = Usd.Stage.CreateNew(str(part))
        UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z if axes == "blender" else UsdGeom.Tokens.y)
        UsdGeom.SetStageMetersPerUnit(stage, 1.0)
        stage.SetTimeCodesPerSecond(rate)
        stage.SetStartTimeCode(0.0)
        stage.SetEndTimeCode(float(codes[-1]))
        root = UsdSkel.Root.Define(stage, "/person")
        stage.SetDefaultPrim(root.GetPrim())
        matrix = np.eye(4)
        matrix[:3, :3] = AXES[axes].T  # of rows
        root.AddTransformOp().Set(Gf.Matrix4d(matrix.tolist()))

        skeleton = UsdSkel.Skeleton.Define(stage, "/person/skeleton")
        skeleton.CreateJointsAttr(names)
        skeleton.CreateBindTransformsAttr(_moves(rig.joints))
        skeleton.CreateRestTransformsAttr(_moves(offsets))

        animation = UsdSkel.Animation.Define(stage, "/person/motion")
        animation.CreateJointsAttr(names)
        animation.CreateScalesAttr(Vt.Vec3hArray.FromNumpy(np.ones((len(names), 3), np.float16)))
        moves, turns = animation.CreateTranslationsAttr(), animation.CreateRotationsAttr()
        for code, translation, joints in zip(codes, motion.translation, quaternions, strict=True):
            now = offsets.astype(np.float32)
            now[0] += translation
            moves.Set(Vt.Vec3fArray.FromNumpy(now), float(code))
            turns.Set(
                Vt.QuatfArray([Gf.Quatf(float(w), float(x), float(y), float(z)) for x, y, z, w in joints]), float(code)
            )
        UsdSkel.BindingAPI.Apply(skeleton.GetPrim()).CreateAnimationSourceRel().SetTargets([animation.GetPath()])

        mesh = UsdGeom.Mesh.Define(stage, "/person/body")
        mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(rig.vertices.astype(np.float32)))
        mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(rig.faces), 3, np.int32)))
        mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(rig.faces.astype(np.int32).ravel()))
        mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
        mesh.CreateDisplayColorAttr([Gf.Vec3f(*map(float, color))])
        binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
        count = int((rig.weights > 0).sum(1).max())
        order = np.argsort(-rig.weights, 1, kind="stable")[:, :count]
        weights = np.take_along_axis(rig.weights, order, 1).astype(np.float32)
        binding.CreateJointIndicesPrimvar(False, count).Set(Vt.IntArray.FromNumpy(order.astype(np.int32).ravel()))
        binding.CreateJointWeightsPrimvar(False, count).Set(Vt.FloatArray.FromNumpy(weights.ravel()))
        binding.CreateGeomBindTransformAttr(Gf.Matrix4d(1.0))
        binding.CreateSkeletonRel().SetTargets([skeleton.GetPath()])
        stage.GetRootLayer().Save()
        part.replace(path)


def _moves(places: np.ndarray) -> list[Any]:
    """Matrices that move to these places (n, 3)."""
    from pxr import Gf

    return [Gf.Matrix4d(1.0).SetTranslate(Gf.Vec3d(*map(float, place))) for place in places]
