"""A network that is trained on one person's keypoints comes nearer to them, and starts anew with the next person."""

import dataclasses
import json

import numpy as np
import pytest
import tiny

from hmr_jax.config import LossConfig
from hmr_jax.inference import Predictor
from hmr_jax.training.adaptation import adapting_predictor, for_one_person

BOX = np.array([[10.0, 10, 80, 110]])


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8)


def keypoints_near(person) -> np.ndarray:
    shift = np.random.default_rng(1).normal(0, 3, (44, 2))
    return np.concatenate([person.keypoints_image + shift, np.ones((44, 1))], 1)[None]


def test_only_keypoints_and_shape_are_trained_on_without_noise():
    config = for_one_person(tiny.config("unused"), 1e-3)
    weights = {field.name: getattr(config.loss, field.name) for field in dataclasses.fields(LossConfig)}
    assert {name for name, weight in weights.items() if weight and not name.startswith("rle_")} == {
        "keypoints_2d",
        "betas",
    }
    assert (config.model.decoder.dropout, config.model.d2a.dropout, config.model.d2a.mask_ratio) == (0, 0, 0)
    assert (config.optim.schedule, config.optim.warmup_steps, config.optim.weight_decay) == ("constant", 0, 0)


def test_people_are_predicted_nearer_to_their_keypoints(tiny_checkpoint, image):
    plain = Predictor.from_checkpoint(tiny_checkpoint, refine=False)([image], [BOX])[0]
    wanted = keypoints_near(plain)
    predictor = adapting_predictor(tiny_checkpoint, 10, learning_rate=1e-3)
    first, second = (predictor([image], [BOX], keypoints=[wanted])[0] for _ in range(2))

    def off(person):
        return np.linalg.norm(person.keypoints_image - wanted[0, :, :2], axis=-1).mean()

    assert off(first) < 0.98 * off(plain)
    np.testing.assert_array_equal(first.vertices, second.vertices)  # the first person has left no trace
    without = predictor([image], [BOX])[0]  # this network finds no landmarks either
    np.testing.assert_allclose(without.vertices, plain.vertices, atol=1e-5)


def test_predict_adapts(predict, photos, tiny_checkpoint, tmp_path, image):
    person = Predictor.from_checkpoint(tiny_checkpoint, refine=False)([image], [BOX])[0]
    file = tmp_path / "keypoints.json"
    file.write_text(json.dumps({"a.jpg": keypoints_near(person).tolist()}))
    common = (
        photos / "a.jpg",
        "--checkpoint",
        tiny_checkpoint,
        "--only",
        "json",
        "--keypoints",
        file,
        "--output",
        tmp_path,
    )
    code, lines, errors = predict(*common, "--adapt", 2)
    assert code == 0, errors
    adapted = json.loads((tmp_path / "a.json").read_text())["people"][0]
    code, again, errors = predict(*common, "--no-refine")
    assert code == 0, errors
    assert again == lines
    plain = json.loads((tmp_path / "a.json").read_text())["people"][0]  # was not taken for the same
    assert adapted["body_pose"] != plain["body_pose"]


def test_what_cannot_be_adapted(tiny_checkpoint, tmp_path):
    with pytest.raises(ValueError, match="0 steps of adaptation: give at least 1"):
        adapting_predictor(tiny_checkpoint, 0)
    with pytest.raises(FileNotFoundError):
        adapting_predictor(tmp_path / "none", 1)
