"""Videos for tests, a predictor that finds coloured rectangles in them, and what it says of them."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from hmr_jax.body import load_body_model
from hmr_jax.config import Config
from hmr_jax.detection import Detections
from hmr_jax.inference import PersonPrediction

WIDTH, HEIGHT, RATE = 160, 120, 24
COLORS = ((220, 40, 40), (40, 60, 220))


def person_box(frame: int, number: int = 0) -> np.ndarray:
    """Where a person of the clip is: the first walks to the right, the second to the left."""
    x = 20 + 4 * frame if number == 0 else 120 - 4 * frame
    return np.array([x, 30 + 4 * number, x + 20, 100 + 4 * number], np.float32)


def draw(frame: int, people: int = 1) -> np.ndarray:
    """A grey frame with people as rectangles; the first one stands behind."""
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    image[:8, :16] = 255  # which corner is the upper left
    for number in range(people):
        left, top, right, bottom = np.clip(person_box(frame, number), 0, WIDTH).astype(int)
        image[top:bottom, left:right] = COLORS[number]
    return image


def write(
    path: Path, images: list[np.ndarray], times: list[float] | None = None, rotation: int = 0, sound: str = "",
    codec: str = "libx264",
) -> Path:  # fmt: skip
    """Writes a video; `sound` is a codec, `rotation` is counter-clockwise, in degrees."""
    clock = Fraction(1, 90_000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        if times is not None:
            stream.codec_context.time_base = clock
        if rotation:
            stream.set_display_rotation(rotation)
        voice = container.add_stream(sound, rate=44_100) if sound else None
        if voice is not None:
            voice.codec_context.layout = "mono"
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number if times is None else round(times[number] * 90_000)
            if times is not None:
                frame.time_base = clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if voice is not None:
            wave = 12_000 * np.sin(2 * np.pi * 440 * np.arange(44_100 * len(images) // RATE) / 44_100)
            tone = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], format="s16", layout="mono")
            tone.rate, tone.pts = 44_100, 0
            container.mux(voice.encode(tone))
            container.mux(voice.encode(None))
    return path


def clip(path: Path, frames: int = 24, people: int = 1, **options) -> Path:
    """Writes a clip of walking people."""
    return write(path, [draw(frame, people) for frame in range(frames)], **options)


class FakePredictor:
    """Finds rectangles by colour; its bodies stand upright with noise, where their box is."""

    def __init__(self, fails_at: int | None = None, sigma: bool = True, keypoints: bool = False):
        self.body = load_body_model()
        self.checkpoint = {"name": "fake", "step": 7}
        self.detector, self.settings, self.refine = None, {"network": "fake"}, True
        self.config, self.parameters_hash, self.upright, self.crop_focal_length = Config(), "fake", True, None
        self.fails_at, self.sigma, self.keypoints = fails_at, sigma, keypoints
        self.searched = self.predicted = 0

    def detect(self, images, known=None):
        self.searched += len(images)
        boxes = [self._boxes(np.asarray(image, int)) for image in images]
        return [Detections(own, np.ones(len(own))) for own in boxes]

    def _boxes(self, image: np.ndarray) -> np.ndarray:
        found = []
        for color in COLORS:
            rows, columns = np.nonzero((np.abs(image - color) < 70).all(-1))
            if len(rows) > 200:
                found.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        return np.array(found, np.float32).reshape(-1, 4)

    def __call__(self, images, boxes, intrinsics=None, *, turns=None, refine=None):
        made, self.refined = [], refine
        for index, (image, rows) in enumerate(zip(images, boxes, strict=True)):
            for box in rows:
                self.predicted += 1
                if self.predicted == self.fails_at:
                    raise KeyboardInterrupt
                made.append(self._person(index, image, np.asarray(box, np.float32)))
        return made

    def _person(self, index: int, image: np.ndarray, box: np.ndarray) -> PersonPrediction:
        rng = np.random.default_rng(int(box.sum() * 8))
        focal, center = np.full(2, 200, np.float32), np.array([WIDTH / 2, HEIGHT / 2], np.float32)
        depth = 1.7 * focal[0] / (box[3] - box[1])
        middle = ((box[:2] + box[2:]) / 2 - center) / focal * depth
        joints, points = rng.normal(0, 0.3, (24, 3)), rng.normal(0, 0.3, (44, 3))
        place = np.array([*middle, depth])
        pixels = (points + place)[:, :2] / (points + place)[:, 2:] * focal + center
        return PersonPrediction(
            image_index=index, box=box, box_center=(box[:2] + box[2:]) / 2, box_size=float(box[3] - box[1]),
            focal_length=focal, principal_point=center, translation=place, global_orient=np.diag([1.0, -1, -1])[None],
            body_pose=np.tile(np.eye(3), (23, 1, 1)), betas=rng.normal(0, 1, 10), camera=np.ones(3), joints=joints,
            keypoints_3d=points, keypoints_2d=points[:, :2], keypoints_image=pixels, vertices=np.zeros((1, 3)),
            crop=image[:1, :1], sigma=np.full(44, 0.05) if self.sigma else None,
            keypoints_given=np.concatenate([pixels, np.ones((44, 1))], 1) if self.keypoints else None,
        )  # fmt: skip
