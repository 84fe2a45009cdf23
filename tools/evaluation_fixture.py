"""The table of docs/evaluation.md, one prediction under each 3DPW convention: `python -m tools.evaluation_fixture`.

The people are synthetic: poses of the generator's prior on the built-in body; men are 5 % larger and women 5 % smaller
than the neutral body, as gendered SMPL models differ. Predictions are the neutral body with noise on pose and shape.
J19's hips are put where the skeleton has them and its head where the skeleton's head joint is, because HMR2.0's
regressor too has other hips and another head than J_regressor_h36m (on the built-in body both are the same points).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from data_pipelines.random_streams import Draws
from data_pipelines.synthetic.poses import PosePrior
from hmr_jax.body import Bodies, BodyModel, load_body_model, skin, true_body
from hmr_jax.geometry import axis_angle_to_matrix
from hmr_jax.protocols import Protocol, body_subject, get_protocol, score

PEOPLE, BLOCK = 256, 32
CONVENTIONS = ("3dpw-j14-pelvis", "3dpw-j14-hips", "3dpw-j19", "3dpw-24-challenge")
METRICS = ("mpjpe", "pa_mpjpe", "pve")


def main() -> None:
    """Prints the table in Markdown."""
    bodies = make_bodies()
    pose, betas, gender = make_people(bodies.neutral)
    rng = np.random.default_rng(1)
    noise = Rotation.from_rotvec(rng.normal(0, 0.12, (PEOPLE * 24, 3))) * Rotation.from_rotvec(pose.reshape(-1, 3))
    predicted = noise.as_rotvec().reshape(pose.shape).astype(np.float32)
    shape = (betas + rng.normal(0, 0.5, betas.shape)).astype(np.float32)

    columns = {"gendered truth": gender, "neutral truth": np.zeros_like(gender)}
    print("| convention | " + " | ".join(f"{what}: MPJPE / PA / PVE" for what in columns) + " |")
    print("|---|" + "---|" * len(columns))
    first: list[float] | None = None
    for name in CONVENTIONS:
        cells = []
        for genders in columns.values():
            means = errors(get_protocol(name), bodies, (pose, betas, genders), (predicted, shape))
            first = first or means
            cells.append(" / ".join(f"{m:.1f} ({m - f:+.1f})" for m, f in zip(means, first, strict=True)))
        print(f"| `{name}` | " + " | ".join(cells) + " |")


def make_bodies() -> Bodies:
    """The three bodies of the fixture."""
    body = load_body_model()
    j19 = np.array(body.regressors["j19"])
    for row, joint in ((2, 2), (3, 1), (18, 15)):
        j19[row] = body.joint_regressor[joint]
    neutral = dataclasses.replace(body, regressors=body.regressors | {"j19": j19})

    def scaled(factor: float) -> BodyModel:
        arrays = {name: np.float32(factor) * getattr(body, name) for name in ("v_template", "shapedirs", "posedirs")}
        return dataclasses.replace(body, **arrays)

    return Bodies(neutral, (scaled(1.05), scaled(0.95)))


def make_people(body: BodyModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Poses (N, 24, 3), betas (N, 10) and genders (N,)."""
    prior = PosePrior(np.asarray(body.joint_regressor @ body.v_template, float), body.parents)
    blocks = np.arange(PEOPLE).reshape(-1, BLOCK)
    pose = np.concatenate([prior.sample(Draws(0, block, "pose")).pose for block in blocks])
    betas = np.random.default_rng(0).normal(0, 1, (PEOPLE, 10))
    return pose.astype(np.float32), betas.astype(np.float32), (1 + np.arange(PEOPLE) % 2).astype(np.int32)


def errors(protocol: Protocol, bodies: Bodies, truth: tuple, prediction: tuple) -> list[float]:
    """Mean MPJPE, PA-MPJPE and PVE in mm; PVE with the protocol's root even where it does not ask for it."""
    protocol = dataclasses.replace(protocol, metrics=METRICS, pck=None, auc=None, angle_parts=())

    @jax.jit
    def step(pose, betas, gender, predicted, shape):
        true = true_body(bodies, pose, betas, gender)
        pred = skin(bodies.neutral, shape, axis_angle_to_matrix(predicted))
        sides = [body_subject(protocol, bodies.neutral, side.vertices, side.joints) for side in (pred, true)]
        return score(protocol, *sides)

    parts = []
    for at in range(0, PEOPLE, 64):
        part = [jnp.asarray(array[at : at + 64]) for array in (*truth, *prediction)]
        parts.append(jax.device_get(step(*part)))
    return [float(np.concatenate([part[name] for part in parts]).mean()) for name in METRICS]


if __name__ == "__main__":
    main()
