"""A prior over human poses, made of anatomical angles instead of motion capture.

A pose is drawn in three steps: a stance (what trunk and legs do), what each arm does, and small independent motion of
everything else. The tables below give each angle as a range in degrees, from which a value is drawn, more likely in the
middle; `LIMITS` bounds what is composed from them. Of `CANDIDATES` such poses the one whose limbs intersect least is
kept. Half of all poses are mirrored, so that left and right are alike.

Angles of the left side, which the right side mirrors; they are 0 in the T-pose unless stated:
    tilt     of the pelvis, forward                    bend, twist, side  of the spine: forward, left, left
    hip      thigh forward of the world's vertical for upright stances, of the trunk for lying ones
    spread   thigh outwards    out  thigh rolled outwards    knee  bent    foot  toes up, from flat on the ground
    lift     upper arm from hanging (0) over horizontal (90) to overhead (180)
    plane    in which it is lifted: sideways (0), forward (90), across the chest (> 90), backward (< 0)
    roll     of the upper arm: decides whether a bent forearm points forward (0), up (-90) or down (90)
    elbow    bent    pronate  forearm rolled    wrist  bent
Joint limits after the American Academy of Orthopaedic Surgeons' ranges of motion, slightly narrowed.

Shapes: B poses, K candidates, N spheres.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
from scipy.spatial.transform import Rotation

from data_pipelines.random_streams import Draws
from data_pipelines.synthetic.kernels import rotation_vectors
from hmr_jax.batch import Batch
from hmr_jax.body import BodyModel
from hmr_jax.body.joints import SMPL_24, SMPL_24_FLIP
from hmr_jax.body.kinematics import forward_kinematics_numpy
from hmr_jax.io.cache import keeps_compiled

Range = tuple[float, float]
CANDIDATES = 4
JOINT = {name: number for number, name in enumerate(SMPL_24)}
LIMITS = {"hip": (-25, 125), "spread": (-20, 55), "out": (-35, 50), "knee": (0, 145), "foot": (-45, 30)}


@dataclass(frozen=True)
class Stance:
    """Ranges, in degrees, for trunk and legs, and the weights of the arms' actions in the order of `ARMS`."""

    weight: float
    tilt: Range
    bend: Range
    hip: tuple[Range, Range]
    knee: tuple[Range, Range]
    spread: Range
    out: Range
    arms: tuple[float, ...]
    foot: Range = (-8, 8)
    twist: float = 20
    side: float = 12
    lying: bool = False


#                    hang swing akimbo front fold face over side back free
_EASY = (8, 2, 2, 2, 1, 1.5, 1, 1, 0.7, 1.5)
_LIVELY = (1, 6, 0.3, 2, 0.3, 0.5, 1.5, 2, 0.3, 2)
_BUSY = (3, 0.5, 0.7, 4, 1, 1, 1, 1, 0.3, 1.5)
_LYING = (3, 0.5, 0.3, 1, 1.5, 1.5, 2, 2, 0, 2)
STANCES = {
    "stand": Stance(26, (-6, 10), (-8, 14), ((-8, 10), (-8, 18)), ((0, 12), (0, 30)), (-3, 12), (-5, 25), _EASY),
    "walk": Stance(10, (-4, 14), (-5, 15), ((8, 45), (-28, 5)), ((0, 35), (5, 65)), (-4, 8), (-5, 15), _LIVELY,
                   (-35, 15)),
    "run": Stance(7, (2, 30), (-5, 20), ((25, 100), (-25, 10)), ((20, 115), (10, 120)), (-4, 12), (-5, 15), _LIVELY,
                  (-40, 20), 28),
    "lunge": Stance(6, (-5, 40), (-10, 25), ((50, 105), (-25, 15)), ((55, 115), (0, 100)), (0, 25), (-5, 25), _LIVELY,
                    (-30, 15), 30),
    "kick": Stance(5, (-25, 15), (-15, 25), ((35, 115), (-10, 15)), ((0, 95), (0, 40)), (-5, 35), (-10, 35), _LIVELY,
                   (-40, 20), 30),
    "straddle": Stance(4, (-10, 25), (-12, 25), ((-5, 35), (-5, 35)), ((0, 40), (0, 40)), (15, 50), (0, 40), _LIVELY,
                       (-10, 10), 35, 25),
    "sit": Stance(9, (-25, 18), (-5, 40), ((70, 100), (70, 100)), ((60, 110), (35, 110)), (-2, 28), (-8, 25),
                  (2, 0.3, 0.8, 5, 2, 2, 1, 0.7, 0.3, 1.5), (-10, 15), 25),
    "sit on floor": Stance(4, (-30, 15), (0, 45), ((85, 115), (80, 120)), ((0, 130), (0, 130)), (0, 40), (0, 45),
                           (1, 0, 0.2, 5, 2, 1, 0.5, 1, 2, 1.5), (-30, 10)),
    "squat": Stance(9, (0, 45), (-5, 40), ((60, 110), (60, 112)), ((60, 140), (60, 140)), (2, 38), (0, 35),
                    (1, 0.5, 0.3, 6, 1, 0.7, 1, 1, 0, 1.5)),
    "kneel": Stance(3, (-5, 30), (-5, 35), ((-5, 15), (-8, 95)), ((80, 105), (80, 105)), (0, 22), (-5, 20), _BUSY,
                    (-45, 0)),
    "sit on heels": Stance(2, (-5, 35), (-5, 40), ((50, 75), (50, 75)), ((132, 145), (132, 145)), (0, 25), (-5, 15),
                           _BUSY, (-45, -10)),
    "bend": Stance(8, (20, 85), (0, 60), ((-10, 12), (-10, 12)), ((0, 45), (0, 45)), (0, 20), (-5, 20),
                   (4, 0.5, 0.3, 6, 0.3, 0.5, 0.5, 1, 0.7, 1.5), (-8, 8), 35),
    "lie": Stance(8, (-8, 8), (-15, 20), ((-8, 60), (-8, 100)), ((0, 60), (0, 120)), (-4, 35), (-10, 40), _LYING,
                  (-45, 5), 25, 15, True),
}  # fmt: skip
# lift, plane, roll, elbow
ARMS: dict[str, tuple[Range, Range, Range, Range]] = {
    "hang": ((6, 30), (-15, 50), (-25, 25), (0, 45)),
    "swing": ((10, 60), (-80, 110), (-25, 30), (15, 115)),
    "akimbo": ((25, 55), (-40, 15), (45, 80), (75, 110)),
    "front": ((25, 110), (55, 115), (-50, 35), (0, 90)),
    "fold": ((15, 50), (45, 90), (-10, 35), (70, 125)),
    "face": ((20, 100), (35, 105), (-100, -30), (95, 140)),
    "over": ((115, 175), (0, 100), (-100, -20), (0, 100)),
    "side": ((55, 120), (-20, 45), (-90, 60), (0, 100)),
    "back": ((15, 45), (-75, -40), (40, 80), (5, 90)),
    "free": ((8, 165), (-25, 115), (-90, 50), (0, 130)),
}


@dataclass
class Poses:
    """Poses of the prior."""

    pose: np.ndarray
    """(B, 24, 3) axis-angle; row 0 is the body's rotation in the world: Y up, facing +Z at heading 0."""
    stance: np.ndarray
    """(B,) number in `STANCES`."""


class PosePrior:
    """Draws poses of a skeleton whose limbs should not intersect."""

    def __init__(self, rest_joints: np.ndarray, parents: tuple[int, ...]):
        """Prepares the skeleton.

        Args:
            rest_joints: (24, 3) of the mean body, metres.
            parents: of SMPL's joints, -1 for the root.
        """
        self._rest, self._parents = rest_joints, parents
        self._spheres = _spheres(rest_joints)

    def sample(self, draws: Draws) -> Poses:
        """One pose per example of `draws`."""
        stance = draws.choice(np.array([s.weight for s in STANCES.values()]))
        rotations = _compose(draws.split(CANDIDATES, 160), np.repeat(stance, CANDIDATES))
        rotations = rotations.reshape(len(stance), CANDIDATES, 24, 3, 3)
        best = self._collision(rotations).argmin(1)
        rotations = rotations[np.arange(len(best)), best]
        pose = rotation_vectors(rotations.reshape(-1, 3, 3)).reshape(-1, 24, 3)
        mirrored = pose[:, SMPL_24_FLIP] * np.array([1, -1, -1])
        return Poses(np.where(draws.happens(0.5)[:, None, None], mirrored, pose), stance)

    def _collision(self, rotations: np.ndarray) -> np.ndarray:
        """Metres by which spheres around the bones overlap, (B, K)."""
        pelvis = np.zeros((*rotations.shape[:-3], 3))
        joints = forward_kinematics_numpy(self._parents, rotations, self._rest, root=pelvis)[1]
        centers = self._spheres.centers(joints)
        distance = np.linalg.norm(centers[..., self._spheres.first, :] - centers[..., self._spheres.second, :], axis=-1)
        return np.maximum(self._spheres.reach - distance, 0).sum(-1)


class NaturalPoses:
    """Poses of the prior with normal betas, by the number of an example; for the adversarial prior."""

    def __init__(self, body: BodyModel, seed: int):
        rest = np.asarray(body.joint_regressor) @ np.asarray(body.v_template)
        self._prior, self._seed = PosePrior(rest, body.parents), seed

    def __call__(self, numbers: np.ndarray) -> Batch:
        """ "natural_pose" (B, 23, 3) and "natural_betas" (B, 10)."""
        draws = Draws(self._seed, numbers, "natural")
        pose = self._prior.sample(draws).pose[:, 1:].astype(np.float32)
        return {"natural_pose": pose, "natural_betas": draws.normal(shape=(10,)).astype(np.float32)}


@dataclass
class _Spheres:
    """Balls on bones, and the pairs of them that must not overlap."""

    start: np.ndarray
    end: np.ndarray
    fraction: np.ndarray
    first: np.ndarray
    second: np.ndarray
    reach: np.ndarray

    def centers(self, joints: np.ndarray) -> np.ndarray:
        """Centres (..., N, 3) for joints (..., 24, 3)."""
        start, end = joints[..., self.start, :], joints[..., self.end, :]
        return start + self.fraction[:, None] * (end - start)


# part, bone's start, end, where on the bone, radius in metres for a skeleton of 1.54 m from foot to head joint
_TRUNK_BALLS = (
    ("trunk", "pelvis", "spine1", 0.0, 0.125), ("trunk", "spine2", "spine3", 0.0, 0.12),
    ("trunk", "spine3", "neck", 0.1, 0.125), ("trunk", "spine3", "neck", 0.6, 0.115),
    ("head", "neck", "head", 1.7, 0.105),
)  # fmt: skip
_LIMB_BALLS = (
    *(("thigh", "hip", "knee", t, 0.075 - 0.02 * t) for t in (0.4, 0.7, 1.0)),
    *(("shank", "knee", "ankle", t, 0.05) for t in (0.35, 0.7, 1.0)),
    ("shank", "ankle", "foot", 1.0, 0.04),
    *(("upper arm", "shoulder", "elbow", t, 0.045) for t in (0.7, 1.0)),
    *(("forearm", "elbow", "wrist", t, 0.04) for t in (0.35, 0.7, 1.0)),
    *(("forearm", "wrist", "hand", t, 0.04) for t in (0.8, 1.5)),
)
_FOLD = ({"forearm", "upper arm"}, {"shank", "thigh"})  # of one limb: these touch when it bends


def _spheres(rest: np.ndarray) -> _Spheres:
    balls = [("", *ball) for ball in _TRUNK_BALLS]
    balls += [(s, part, f"{s}_{a}", f"{s}_{b}", t, r) for s in ("left", "right") for part, a, b, t, r in _LIMB_BALLS]
    scale = np.ptp(rest[:, 1]) / 1.54
    start, end = np.array([(JOINT[ball[2]], JOINT[ball[3]]) for ball in balls]).T
    fraction, radius = np.array([ball[4:] for ball in balls]).T
    pairs = [
        (i, j)
        for i, (side, part, *_) in enumerate(balls)
        for j, (other_side, other, *_) in enumerate(balls[:i])
        if (side, part) != (other_side, other)
        and {part, other} != {"trunk", "head"}
        and not (side == other_side and {part, other} in _FOLD)
    ]
    first, second = np.array(pairs).T
    spheres = _Spheres(start, end, fraction, first, second, scale * (radius[first] + radius[second]))
    centers = spheres.centers(rest)
    apart = np.linalg.norm(centers[first] - centers[second], axis=-1)
    spheres.reach = np.minimum(spheres.reach, apart)  # what touches in the rest pose may always touch
    return spheres


def _between(draws: Draws, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """A value of each range (B,): the mean of two uniforms, so that the middle is likelier; radians."""
    return np.deg2rad(low + (high - low) * draws.uniform(shape=(2,)).mean(1))


def _compose(draws: Draws, stance: np.ndarray) -> np.ndarray:
    """Local rotations (B, 24, 3, 3)."""
    table = list(STANCES.values())

    def stance_range(get) -> np.ndarray:
        return _between(draws, *np.array([get(s) for s in table], float)[stance].T)

    lying = np.array([s.lying for s in table])[stance]
    local = np.broadcast_to(np.eye(3), (len(stance), 24, 3, 3)).copy()

    def rotate(joint: str, order: str, *angles: np.ndarray) -> None:
        for axis, angle in zip(order, angles, strict=True):
            _rotate(local[:, JOINT[joint]], "XYZ".index(axis), np.cos(angle), np.sin(angle))

    tilt, bend = stance_range(lambda s: s.tilt), stance_range(lambda s: s.bend)
    side = draws.normal(0, np.deg2rad([s.side for s in table])[stance] / 2)
    twist = draws.normal(0, np.deg2rad([s.twist for s in table])[stance] / 2)
    share = draws.uniform(0.6, 1.4, shape=(3,)) * np.array([0.3, 0.35, 0.35])
    share /= share.sum(1, keepdims=True)
    for k, joint in enumerate(("spine1", "spine2", "spine3")):
        rotate(joint, "YXZ", twist * share[:, k], bend * share[:, k], side * share[:, k])
    # The head partly makes up for the trunk, as if to look ahead, and looks about.
    nod = -draws.uniform(0, 0.7) * np.where(lying, 0, tilt + bend) + np.deg2rad(draws.normal(4, 14))
    look, lean = np.deg2rad(draws.normal(0, 26)), np.deg2rad(draws.normal(0, 8))
    nod, look = np.clip(nod, -0.9, 0.8), np.clip(look, -1.2, 1.2)
    for joint in ("neck", "head"):
        rotate(joint, "YXZ", look / 2, nod / 2, lean / 2)

    roll = draws.sign() * np.pi / 2 * draws.choice(np.array([3, 2, 2]))  # on the back, a side, the front
    roll = roll + np.deg2rad(draws.normal(0, 15))
    side_tilt = np.deg2rad(draws.normal(0, 3))
    rotate("pelvis", "XYZ", np.where(lying, tilt - np.pi / 2, tilt), np.where(lying, roll, 0), side_tilt)

    for k, s in enumerate(("left", "right")):
        m = 1 - 2 * k
        hip, knee = stance_range(lambda r, k=k: r.hip[k]), stance_range(lambda r, k=k: r.knee[k])
        spread, out = stance_range(lambda r: r.spread), stance_range(lambda r: r.out)
        lean = knee - hip  # of the shin, forward: with the sole on the ground the toes go up by as much
        toes = np.where(lying | (lean > np.deg2rad(60)), np.deg2rad(-20), lean)
        foot = stance_range(lambda r: r.foot)
        hip = np.where(lying, hip, hip + tilt)
        hip, spread, out, knee = (
            np.clip(a, *np.deg2rad(LIMITS[name]))
            for a, name in ((hip, "hip"), (spread, "spread"), (out, "out"), (knee, "knee"))
        )
        toes_up = np.clip(toes + foot, *np.deg2rad(LIMITS["foot"]))
        rotate(f"{s}_hip", "XZY", -hip, m * spread, m * out)
        rotate(f"{s}_knee", "XY", knee, m * np.deg2rad(draws.normal(0, 4)))
        rotate(f"{s}_ankle", "XYZ", -toes_up, m * np.deg2rad(draws.normal(3, 7)), -m * spread * 0.5)
        rotate(f"{s}_foot", "X", np.deg2rad(draws.uniform(-30, 3)) * (toes > np.deg2rad(30)))  # heel raised: toes bend

    weights = np.array([s.arms for s in table])[stance]
    actions = [draws.choice(weights), draws.choice(weights)]
    actions[1] = np.where(draws.happens(0.5), actions[0], actions[1])
    for k, s in enumerate(("left", "right")):
        lift, plane, roll, elbow = (
            _between(draws, *angle) for angle in np.array(list(ARMS.values()), float)[actions[k]].transpose(1, 2, 0)
        )
        _raise_arm(local, rotate, s, lift, plane, roll)
        m = 1 - 2 * k
        pronate = np.deg2rad(draws.normal(0, 30, clip=2))
        rotate(f"{s}_elbow", "YX", -m * np.maximum(elbow, 0), 0.4 * pronate)
        rotate(f"{s}_wrist", "XZY", 0.6 * pronate, m * np.deg2rad(draws.normal(0, 18)), np.deg2rad(draws.normal(0, 10)))
        rotate(f"{s}_hand", "ZY", m * np.deg2rad(draws.normal(-8, 12)), np.deg2rad(draws.normal(0, 5)))
    return local


@numba.njit(nogil=True, cache=keeps_compiled())
def _rotate(rotations, axis, cosine, sine):
    """Rotates (B, 3, 3) in place about one of their own axes."""
    j, k = (axis + 1) % 3, (axis + 2) % 3
    for b in range(len(rotations)):
        for i in range(3):
            one, two = rotations[b, i, j], rotations[b, i, k]
            rotations[b, i, j], rotations[b, i, k] = cosine[b] * one + sine[b] * two, cosine[b] * two - sine[b] * one


def _raise_arm(
    local: np.ndarray, rotate: Callable[..., None], s: str, lift: np.ndarray, plane: np.ndarray, roll: np.ndarray
) -> None:
    """Sets collar and shoulder of side `s` so that the upper arm points where lift and plane say."""
    m = 1 if s == "left" else -1
    shrug = 0.22 * np.clip(lift - np.deg2rad(30), 0, None)  # the collar bone takes part of a high lift
    reach = 0.15 * np.sin(plane) * np.sin(lift)
    rotate(f"{s}_collar", "ZY", m * shrug, -m * reach)
    direction = np.stack([m * np.sin(lift) * np.cos(plane), -np.cos(lift), np.sin(lift) * np.sin(plane)], -1)
    direction = np.einsum("bji,bj->bi", local[:, JOINT[f"{s}_collar"]], direction)
    start = np.array([m, 0.0, 0.0])
    axis = np.cross(start, direction)
    sine = np.linalg.norm(axis, axis=-1, keepdims=True)
    angle = np.arctan2(sine, direction @ start[:, None])
    local[:, JOINT[f"{s}_shoulder"]] = Rotation.from_rotvec(axis / np.maximum(sine, 1e-9) * angle).as_matrix()
    rotate(f"{s}_shoulder", "X", roll)
