"""Images of the median and worst cases of an evaluation: the crop, and prediction and truth in three views.

Shapes: B cases, V vertices.
"""

import jax
import numpy as np
from PIL import Image

from hmr_jax.batch import Batch
from hmr_jax.body import Bodies, true_body
from hmr_jax.evaluation.outcome import Outcome
from hmr_jax.evaluation.scores import predict_with
from hmr_jax.geometry import NOMINAL_CROP, crop_translation
from hmr_jax.models import build_model
from hmr_jax.rendering.contact_sheet import caption
from hmr_jax.rendering.overlay import three_views

CASES = 4  # of each kind
SIDE = 300  # of the crop in an image, px; at least
COLORS = np.array([(0.55, 0.70, 0.95), (0.95, 0.66, 0.40)])  # prediction, truth


def case_images(outcome: Outcome, metric: str) -> list[tuple[str, np.ndarray]]:
    """(caption, image) of each case; none for predictions from a file, or on several hosts (no host has all crops)."""
    if outcome.source is None or outcome.config is None or jax.process_count() > 1:
        return []
    rows = outcome.result.per_sample
    errors = np.where(np.isfinite(rows[metric]), rows[metric], -np.inf)
    order = np.argsort(errors)
    order = order[np.isfinite(errors[order])]
    middle = max(len(order) // 2 - CASES // 2, 0)
    chosen = list(dict.fromkeys([*order[middle : middle + CASES], *order[::-1][:CASES]]))
    batch = _examples(outcome, rows["index"][chosen])
    model = build_model(outcome.config.model)
    prediction = jax.device_get(jax.jit(predict_with(model))(outcome.params, batch))
    translation = np.asarray(crop_translation(prediction.camera, outcome.config.model.focal_length))
    truth = _true_vertices(outcome, model.body, batch, prediction)
    side = max(SIDE, batch["image"].shape[1])
    focal = outcome.config.model.focal_length * side / NOMINAL_CROP
    intrinsics = np.array([[focal, 0, side / 2], [0, focal, side / 2], [0, 0, 1]])
    images = []
    for number, row in enumerate(chosen):
        crop = np.asarray(Image.fromarray(batch["image"][number]).resize((side, side), Image.Resampling.BICUBIC))
        bodies = [prediction.vertices[number] + translation[number]]
        if batch["has_pose"][number] > 0:
            bodies.append(truth[number] + translation[number])
        finite = [body for body in bodies if np.isfinite(body).all()]
        views = three_views(crop, finite, model.body.faces, intrinsics, colors=COLORS, opacity=0.8)
        kind = "median" if number < CASES and row in order[middle : middle + CASES] else "worst"
        text = f"{kind}: {rows['key'][row]}, {rows[metric][row]:.0f} mm"
        images.append((text, np.concatenate([caption(crop, "crop"), views], 1)))
    return images


def _examples(outcome: Outcome, numbers: np.ndarray) -> dict[str, np.ndarray]:
    """Reads the examples with these numbers again, as one batch."""
    assert outcome.source is not None
    assert outcome.config is not None
    found: dict[int, dict[str, np.ndarray]] = {}
    size = outcome.config.batch_size
    for step in sorted({int(number) // size for number in numbers}):
        stream = outcome.source(step)
        batch: Batch = next(stream)
        if hasattr(stream, "close"):
            stream.close()
        for row, number in enumerate(np.asarray(batch["index"]).tolist()):
            found[number] = {name: np.asarray(array)[row] for name, array in batch.items()}
    examples = [found[int(number)] for number in numbers]
    return {name: np.stack([example[name] for example in examples]) for name in examples[0]}


def _true_vertices(outcome: Outcome, body, batch: Batch, prediction) -> np.ndarray:
    """(B, V, 3) labelled bodies, metres, moved so that their pelvis joints coincide with the predicted ones."""
    bodies = outcome.bodies if outcome.bodies is not None else Bodies(body)
    posed = jax.jit(true_body)(bodies, batch["pose"], batch["betas"], batch.get("gender"))
    shift = prediction.joints[:, 0] - np.asarray(posed.joints)[:, 0]
    return np.asarray(posed.vertices) + shift[:, None]
