"""What a person wears and looks like: skin, hair, face and clothes as numbers that `paint_person` paints with.

Clothes have no geometry of their own except a looseness in metres. Which garment covers a point depends on where the
point lies in the rest pose, so the borders of garments are sharp on any mesh. Colours are linear-light RGB.

Shapes: B examples, V vertices.
"""

import numpy as np

from data_pipelines.random_streams import Draws
from hmr_jax.body.joints import LANDMARKS_21, SMPL_24

PATTERNS = ("plain", "stripes", "checks", "dots", "camouflage", "panel")

LOOK = np.dtype([
    ("skin", "f4", 3), ("hair", "f4", 3), ("lips", "f4", 3), ("shoes", "f4", 3),
    ("cloth", "f4", (2, 2, 3)),  # top, bottom; two colours each
    ("pattern", "i4", 2), ("direction", "f4", (2, 3)), ("frequency", "f4", 2),
    ("sleeve", "f4"), ("neckline", "f4"), ("neck_slope", "f4"), ("waist", "f4"), ("hem", "f4"), ("shoe_top", "f4"),
    ("glove", "f4"),  # |x| beyond which a hand is gloved in the top's colour
    ("hair_tilt", "f4", 2), ("hair_line", "f4"), ("hair_length", "f4"), ("beard", "f4"), ("glasses", "f4"),
    ("loose", "f4", 2), ("folds", "f4"), ("fold_phase", "f4", 3), ("gloss", "f4"),
])  # fmt: skip
"""One record per person. Lengths are heights y or distances |x| in the rest pose, metres."""

PLAN = np.dtype([
    ("shoulder_x", "f4"), ("arm_y", "f4"), ("elbow_x", "f4"), ("wrist_x", "f4"), ("neck_y", "f4"), ("chin_y", "f4"),
    ("waist_y", "f4"), ("crotch_y", "f4"), ("knee_y", "f4"), ("ankle_y", "f4"), ("head", "f4", 3), ("nose", "f4", 3),
    ("eyes", "f4", (2, 3)), ("mouth_y", "f4"),
])  # fmt: skip
"""Where things are on the mean body in rest pose, metres from the pelvis."""


def body_plan(vertices: np.ndarray, joints: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The PLAN record, a 0-d array, of rest vertices (V, 3), joints (24, 3) with pelvis at 0 and landmarks (21,)."""
    joint = dict(zip(SMPL_24, joints, strict=True))
    point = dict(zip(LANDMARKS_21, vertices[landmarks], strict=True))
    plan = np.zeros((), PLAN)
    plan["shoulder_x"], plan["arm_y"] = joint["left_shoulder"][0] + 0.01, joint["spine3"][1]
    plan["elbow_x"], plan["wrist_x"] = joint["left_elbow"][0], joint["left_wrist"][0]
    plan["neck_y"] = joint["neck"][1]
    plan["chin_y"] = 0.45 * joint["neck"][1] + 0.55 * joint["head"][1]
    plan["waist_y"] = joint["spine1"][1]
    plan["crotch_y"] = joint["left_hip"][1] - 0.09
    plan["knee_y"], plan["ankle_y"] = joint["left_knee"][1], joint["left_ankle"][1]
    plan["head"] = (point["left_ear"] + point["right_ear"]) / 2
    plan["nose"], plan["eyes"] = point["nose"], np.stack([point["left_eye"], point["right_eye"]])
    plan["mouth_y"] = point["nose"][1] - 0.62 * (np.mean(plan["eyes"][:, 1]) - point["nose"][1]) - 0.012
    return plan


def sample_looks(draws: Draws, plan: np.ndarray) -> np.ndarray:
    """(B,) LOOK records."""
    melanin = draws.uniform()[:, None] ** 1.3
    skin = np.exp(np.log([0.72, 0.45, 0.33]) * (1 - melanin) + np.log([0.075, 0.038, 0.022]) * melanin)
    looks = np.zeros(len(skin), LOOK)
    looks["skin"] = skin = skin * np.exp(draws.normal(0, 0.1, (3,)))
    looks["lips"] = skin * np.array([0.85, 0.5, 0.5])
    blond = draws.uniform()[:, None] ** 3
    hair = np.array([0.012, 0.009, 0.007]) * (1 - blond) + np.array([0.38, 0.22, 0.09]) * blond
    grey = draws.happens(0.15)[:, None]
    looks["hair"] = np.where(grey, draws.uniform(0.1, 0.6)[:, None], hair * np.exp(draws.normal(0, 0.25, (3,))))
    cap = draws.happens(0.1)[:, None]
    looks["hair"] = np.where(cap, fabric_colors(draws), looks["hair"])
    angle = draws.uniform(0.5, 1.05)
    looks["hair_tilt"] = np.stack([np.cos(angle), np.sin(angle)], -1)
    looks["hair_line"] = np.where(draws.happens(0.07), 9, draws.uniform(-0.03, 0.012))  # 9: bald
    long = draws.happens(0.3)
    looks["hair_length"] = np.where(long, draws.uniform(-0.3, 0.0), 0.06) + plan["neck_y"]
    looks["beard"] = draws.happens(0.18)
    looks["glasses"] = draws.happens(0.1)

    _dress(draws, looks, plan)
    looks["folds"] = draws.uniform(0.0, 0.4)
    looks["fold_phase"] = draws.uniform(0, 100, (3,))
    looks["gloss"] = draws.uniform(0, 0.25)
    return looks


def _dress(draws: Draws, looks: np.ndarray, plan: np.ndarray) -> None:
    top, bottom = fabric_colors(draws), fabric_colors(draws)
    second = np.stack([fabric_colors(draws), fabric_colors(draws)], 1)
    jeans = draws.happens(0.25)[:, None]
    bottom = np.where(jeans, np.array([0.06, 0.09, 0.18]) * draws.log_uniform(0.4, 2.2)[:, None], bottom)
    suit = draws.happens(0.1)  # one fabric from neck to ankle
    bottom = np.where(suit[:, None], top, bottom)
    looks["cloth"][:, 0, 0], looks["cloth"][:, 1, 0], looks["cloth"][:, :, 1] = top, bottom, second
    for k, plain in enumerate((5.0, 9.0)):
        looks["pattern"][:, k] = draws.choice(np.array([plain, 2.5, 1.5, 1, 1, 1.5 * (k == 0)]))
        direction = np.stack([draws.normal(0, 0.4), draws.normal(0, 1), draws.normal(0, 0.3)], -1)
        upright = draws.happens(0.3)[:, None]  # stripes along the body
        direction = np.where(upright, direction[:, [1, 0, 2]], direction)
        looks["direction"][:, k] = direction / np.linalg.norm(direction, axis=1, keepdims=True)
        looks["frequency"][:, k] = draws.log_uniform(5, 45)
    looks["pattern"][:, 1] = np.where(suit, looks["pattern"][:, 0], looks["pattern"][:, 1])

    shoulder, elbow, wrist = float(plan["shoulder_x"]), float(plan["elbow_x"]), float(plan["wrist_x"])
    short = draws.uniform(shoulder + 0.45 * (elbow - shoulder), elbow + 0.03)
    rolled, long = draws.uniform(elbow, wrist), draws.uniform(wrist - 0.04, wrist + 0.02)
    kind = np.where(suit, 2, draws.choice(np.array([0.45, 0.1, 0.35, 0.1])))
    looks["sleeve"] = np.choose(kind, [short, rolled, long, 0.7 * shoulder])
    looks["glove"] = np.where(draws.happens(0.05), wrist, 9)
    looks["neckline"] = plan["neck_y"] + np.where(draws.happens(0.15), 0.05, draws.uniform(-0.09, 0.01))
    looks["neck_slope"] = draws.uniform(0.1, 1.2)
    looks["waist"] = draws.uniform(plan["crotch_y"] + 0.03, plan["waist_y"] + 0.02)
    knee, ankle = float(plan["knee_y"]), float(plan["ankle_y"])
    shorts = draws.uniform(knee - 0.05, float(plan["crotch_y"]) - 0.03)
    kind = np.where(suit, 2, draws.choice(np.array([0.3, 0.1, 0.6])))
    looks["hem"] = np.choose(
        kind, [shorts, draws.uniform(ankle + 0.08, knee), draws.uniform(ankle - 0.02, ankle + 0.03)]
    )
    barefoot = draws.happens(0.12)
    boots = draws.happens(0.12)
    height = np.where(boots, draws.uniform(ankle + 0.08, knee - 0.08), draws.uniform(ankle - 0.03, ankle + 0.06))
    looks["shoe_top"] = np.where(barefoot, -9, height)
    looks["shoes"] = fabric_colors(draws) * np.where(draws.happens(0.5), 0.3, 1.0)[:, None]
    tight = draws.happens(0.35)[:, None]
    looks["loose"] = np.where(tight, 0.003, draws.uniform(0.003, 0.016, (2,)))


def fabric_colors(draws: Draws) -> np.ndarray:
    """(B, 3) colours of fabric and paint: every hue, but greys, blacks, whites and muted tones are common."""
    hue, saturation = draws.uniform(0, 6), draws.uniform() ** 1.3 * np.where(draws.happens(0.35), 0.1, 0.95)
    value = draws.log_uniform(0.025, 0.9)
    rgb = np.clip(np.abs((hue[:, None] + np.array([3, 1, 5])) % 6 - 3) - 1, 0, 1)
    return value[:, None] * (1 - saturation[:, None] * (1 - rgb))
