"""The world around the person: light, ground, walls, clutter behind, occluders in front, and the sensor's faults.

Everything is sampled as one record per image, from which `paint_scene` and `lens` draw. Colours are linear-light RGB.
Lengths in the image are in units of its side, so a scene looks the same at any size.

Shapes: B examples.
"""

import io

import numpy as np
from PIL import Image

from data_pipelines.random_streams import Draws
from data_pipelines.synthetic.appearance import fabric_colors

TEXTURES = ("plain", "tiles", "planks", "noise", "bricks", "blotches")
SHAPES = ("none", "box", "ellipse", "bar")
CLUTTER = 10
OCCLUDERS = 2

SHAPE = np.dtype([
    ("kind", "i4"), ("center", "f4", 2), ("half", "f4", 2), ("angle", "f4"), ("texture", "i4"), ("frequency", "f4"),
    ("colors", "f4", (2, 3)), ("shade", "f4"),
])  # fmt: skip
SURFACE = [("texture", "i4"), ("frequency", "f4"), ("contrast", "f4"), ("colors", "f4", (2, 3))]
SCENE = np.dtype([
    ("up", "f4", 3), ("axes", "f4", (2, 3)), ("ground", "f4"), ("wall", "f4"), ("wall_normal", "f4", 3),
    ("enclosure", "i4"),  # 0 open sky, 1 a wall, 2 a backdrop without geometry
    ("floor", SURFACE), ("back", SURFACE), ("sky", "f4", (2, 3)), ("seed", "i4"),
    ("ambient", "f4", (2, 3)), ("light", "f4", (2, 3)), ("light_color", "f4", (2, 3)), ("shadow", "f4"),
    ("clutter", SHAPE, CLUTTER), ("occluders", SHAPE, OCCLUDERS),
    ("bokeh", "f4"), ("blur", "f4"), ("motion", "f4", 2), ("gain", "f4", 3), ("gamma", "f4"), ("vignette", "f4"),
    ("noise", "f4"), ("coarse", "f4"), ("jpeg", "i4"),
])  # fmt: skip
"""`ground`: up . X of the floor's points; `wall`: normal . X of the wall's; camera axes, metres."""


def sample_scenes(draws: Draws, up: np.ndarray, floor: np.ndarray, person: np.ndarray, cloth: np.ndarray,
                  box: np.ndarray) -> np.ndarray:  # fmt: skip
    """(B,) SCENE records, without the sensor's part.

    Args:
        draws: of the "scene" stream.
        up: (B, 3) the world's vertical in camera axes.
        floor: (B,) height along `up` of the person's lowest point, metres.
        person: (B, 3) the person's pelvis, metres.
        cloth: (B, 3) a colour of the clothes, which the background sometimes repeats.
        box: (B, 3) centre and side of the person's box in units of the image's side: occluders hide a part of it.
    """
    count = len(up)
    scenes = np.zeros(count, SCENE)
    scenes["seed"] = draws.uniform(0, 2**20)
    scenes["up"], scenes["ground"] = up, floor - np.where(draws.happens(0.1), draws.uniform(0, 0.3), 0)
    ahead = person - np.einsum("bi,bi->b", person, up)[:, None] * up
    ahead /= np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-6)
    aside = np.cross(up, ahead)
    angle = draws.uniform(-0.7, 0.7)[:, None]
    axes = np.stack([np.cos(angle) * aside + np.sin(angle) * ahead, np.cos(angle) * ahead - np.sin(angle) * aside], 1)
    scenes["axes"], scenes["wall_normal"] = axes, axes[:, 1]
    scenes["wall"] = np.einsum("bi,bi->b", axes[:, 1], person) + draws.log_uniform(0.7, 6)
    scenes["enclosure"] = draws.choice(np.array([0.4, 0.4, 0.2]))
    matching = draws.happens(0.12)[:, None]
    for name, textures in (("floor", (2, 2, 2, 4, 1, 2)), ("back", (3, 1, 1, 3, 1.5, 3))):
        surface = scenes[name]
        surface["texture"] = draws.choice(np.array(textures))
        surface["frequency"] = draws.log_uniform(0.7, 9)
        surface["contrast"] = draws.uniform(0.1, 1)
        first = _muted(draws)
        if name == "back":
            first = np.where(matching, cloth * draws.uniform(0.7, 1.3)[:, None], first)
        surface["colors"] = np.stack([first, _muted(draws)], 1)
    blue = np.array([0.25, 0.45, 0.85]) * draws.log_uniform(0.4, 1.2)[:, None]
    grey = draws.uniform(0.2, 0.95)[:, None] * np.ones(3)
    overhead = np.where(draws.happens(0.5)[:, None], blue, grey)
    scenes["sky"] = np.stack([overhead, overhead * 0.4 + 0.55 * draws.uniform(0.6, 1.1)[:, None]], 1)
    _illuminate(draws, scenes, up)
    scenes["clutter"] = _shapes(draws, CLUTTER, draws.choice(np.array([3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])), None)
    hidden = draws.choice(np.array([0.7, 0.22, 0.08]))
    scenes["occluders"] = _shapes(draws, OCCLUDERS, hidden, box)
    return scenes


def add_sensor(draws: Draws, scenes: np.ndarray, color: float) -> None:
    """Fills in exposure, colour, focus, motion and noise; `color` is the spread of HMR2.0's per-channel gains."""
    exposure = draws.log_uniform(0.85, 2.3)[:, None]
    warmth = draws.normal(0, 0.09)[:, None] * np.array([1, 0, -1])
    scenes["gain"] = exposure * np.exp(warmth) * draws.uniform(1 - color, 1 + color, (3,))
    scenes["gamma"] = draws.normal(1, 0.1)
    scenes["vignette"] = draws.uniform(0, 0.5) * draws.happens(0.4)
    scenes["noise"] = draws.log_uniform(0.003, 0.05)
    scenes["bokeh"] = draws.log_uniform(0.004, 0.03) * draws.happens(0.35)
    scenes["blur"] = np.where(draws.happens(0.25), draws.log_uniform(0.003, 0.009), 0.002)
    angle, length = draws.uniform(0, np.pi), draws.log_uniform(0.008, 0.03) * draws.happens(0.1)
    scenes["coarse"] = np.where(draws.happens(0.15), draws.log_uniform(1.3, 3), 1)
    scenes["jpeg"] = np.where(draws.happens(0.35), draws.uniform(15, 90), 0)
    scenes["motion"] = np.stack([np.cos(angle), np.sin(angle)], -1) * length[:, None]


def transmit(image: np.ndarray, scene: np.void) -> np.ndarray:
    """An image (S, S, 3) uint8 after low resolution and JPEG compression."""
    if scene["coarse"] == 1 and scene["jpeg"] == 0:
        return image
    received: Image.Image = Image.fromarray(image)
    if scene["coarse"] > 1:
        small = round(len(image) / float(scene["coarse"]))
        small_image = received.resize((small, small), Image.Resampling.BOX)
        received = small_image.resize(received.size, Image.Resampling.BICUBIC)
    if scene["jpeg"]:
        file = io.BytesIO()
        received.save(file, "JPEG", quality=int(scene["jpeg"]))
        received = Image.open(file)
    return np.asarray(received)


def _illuminate(draws: Draws, scenes: np.ndarray, up: np.ndarray) -> None:
    """A sky and a bounce term, and one or two directional lights from above; colours from warm to cool."""
    strength = draws.uniform(0.2, 0.75)[:, None]
    warm = draws.normal(0, 0.15)[:, None] * np.array([1, 0.1, -1])
    scenes["ambient"][:, 0] = strength * np.exp(-0.5 * warm)
    scenes["ambient"][:, 1] = strength * draws.uniform(0.3, 0.9)[:, None]
    for k, usual in enumerate((1.0, 0.5)):
        direction = draws.normal(shape=(3,))
        direction += up * draws.uniform(0.3, 2)[:, None]
        height = np.einsum("bi,bi->b", direction, up)[:, None]
        direction += up * (np.abs(height) - height)  # no light from below the ground
        direction[:, 2] -= draws.uniform(0, 1)  # rather from the camera's side
        scenes["light"][:, k] = direction / np.linalg.norm(direction, axis=1, keepdims=True)
        power = draws.uniform(0.2, 1.2) * draws.happens(usual)
        scenes["light_color"][:, k] = power[:, None] * np.exp(warm * (1 - k))
    scenes["shadow"] = draws.uniform(0.1, 0.75)


def _muted(draws: Draws) -> np.ndarray:
    color = fabric_colors(draws)
    grey = color.mean(1, keepdims=True)
    return grey + (color - grey) * draws.uniform(0.1, 1.0)[:, None]


def _shapes(draws: Draws, slots: int, used: np.ndarray, box: np.ndarray | None) -> np.ndarray:
    """(B, slots) SHAPE records; with a `box` (B, 3) they hide a part of it."""
    shapes = np.zeros((len(used), slots), SHAPE)
    for k in range(slots):
        shape = shapes[:, k]
        shape["kind"] = np.where(k < used, 1 + draws.choice(np.array([4, 1.5, 3])), 0)
        tall = draws.sign()[:, None] * np.array([0.5, -0.5]) * draws.normal(0, 0.8)[:, None]
        reach = draws.uniform(-0.5, 0.5, (2,))
        large, thin = draws.log_uniform(0.03, 0.4)[:, None], draws.log_uniform(0.015, 0.07)[:, None]
        if box is None:
            shape["center"] = 0.5 + 1.1 * reach
            half = large * np.exp(tall)
        else:
            shape["center"] = box[:, :2] + reach * np.array([0.7, 0.9]) * box[:, 2:]
            half = np.clip(large, 0.05, 0.2) * np.exp(np.clip(tall, -0.7, 0.7)) * box[:, 2:]
            thin = thin * box[:, 2:]
            table = draws.happens(0.25)  # something wide that hides what is below its edge
            edge = box[:, 1] + box[:, 2] * draws.uniform(0.1, 0.42)
            shape["center"] = np.where(table[:, None], np.stack([box[:, 0], edge + 1.5], -1), shape["center"])
            half = np.where(table[:, None], np.stack([draws.uniform(0.3, 2), np.full(len(used), 1.5)], -1), half)
            shape["kind"] = np.where(table & (shape["kind"] > 0), 1, shape["kind"])
        bar = np.concatenate([thin, draws.uniform(0.1, 0.8)[:, None] * (1 if box is None else box[:, 2:])], 1)
        shape["half"] = np.where((shape["kind"] == 3)[:, None], bar, half)
        tilted = np.where(draws.happens(0.5), draws.normal(0, 0.05), draws.uniform(-1.5, 1.5))
        shape["angle"] = np.where(shape["half"].max(1) > 1, 0.3 * tilted * draws.happens(0.3), tilted)
        shape["texture"] = draws.choice(np.array([5, 1, 1, 2, 1, 1]))
        shape["frequency"] = draws.log_uniform(6, 50)
        skin = np.array([0.5, 0.3, 0.2]) * draws.log_uniform(0.2, 1.4)[:, None]
        color = np.where(draws.happens(0.15)[:, None], skin, _muted(draws))
        shape["colors"] = np.stack([color, _muted(draws)], 1)
        shape["shade"] = draws.uniform(0, 0.8)
    return shapes
