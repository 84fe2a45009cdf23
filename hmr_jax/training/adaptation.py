"""Fine-tuning on one person's keypoints before predicting that person, as in EFT (Joo et al. 2021).

A tool for research: the network's own knowledge of bodies is the prior, and a few steps of training on the keypoints in
the image the fit. Each person starts from the checkpoint again.

Shapes: K the 44 keypoints.
"""

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hmr_jax.batch import zeros
from hmr_jax.config import Config, LossConfig, OptimConfig
from hmr_jax.geometry.upright import rotation_z
from hmr_jax.inference import Predictor
from hmr_jax.inference.loading import load
from hmr_jax.inference.person import PersonPrediction
from hmr_jax.inference.refining import keypoints_of
from hmr_jax.models.backbones.vit import arrange_for_inference
from hmr_jax.models.parameters import Params, split_params
from hmr_jax.training.step import evaluation_params, init_state, make_train_step

LEARNING_RATE = 2e-5
_SHAPE = 0.05
"""Weight of the distance from the betas that were predicted, beside 1 for the keypoints in the image."""


class AdaptingPredictor(Predictor):
    """A predictor whose parameters are adapted to each person first."""

    def __init__(
        self, config: Config, params: Params, steps: int, learning_rate: float = LEARNING_RATE, **options: Any
    ):
        """Builds the network and its training step.

        Args:
            config: of a checkpoint.
            params: of the same checkpoint.
            steps: of training on each person.
            learning_rate: of these steps; constant.
            options: of `Predictor`.

        Raises:
            ValueError: fewer than one step, or `Predictor` refuses the rest.
        """
        if steps < 1:
            raise ValueError(f"{steps} steps of adaptation: give at least 1.")
        super().__init__(config, params, 1, **{"refine": False} | options)
        self._steps, self._learning_rate = steps, learning_rate
        own = for_one_person(config, learning_rate)
        self._trained, self._frozen = split_params(params, own.optim.frozen)
        self._state = init_state(own, jax.device_put(self._trained))
        self._train = jax.jit(make_train_step(own, self.model.clone(config=own.model)))

    @property
    def settings(self) -> dict[str, Any]:
        """What predictions depend on beside configuration and parameters."""
        return super().settings | {"adapted": [self._steps, self._learning_rate]}

    def _run(self, images: Any, batch: Sequence[dict], depth: Any, refine: bool | None) -> list[PersonPrediction]:
        """The predictions of a batch, which is one person."""
        found = super()._run(images, batch, depth, refine)
        keypoints, sigma = keypoints_of(found)
        if not np.isfinite(sigma).any():
            return found
        _, inputs = self._inputs(images, batch, depth)
        adapted = copy.copy(self)  # with the same compiled programs
        adapted._params = jax.device_put(arrange_for_inference(self._adapt(found[0], inputs, keypoints[0], sigma[0])))
        return super(AdaptingPredictor, adapted)._run(images, batch, depth, refine)

    def _adapt(
        self, person: PersonPrediction, inputs: dict[str, np.ndarray], keypoints: np.ndarray, sigma: np.ndarray
    ) -> Params:
        """All parameters after some steps on one person, whose keypoints are (K, 2) px with sigma (K,)."""
        turn = rotation_z(np.array([person.box_turn]))[0, :2, :2]
        in_crop = ((keypoints - person.box_center) / person.box_size) @ turn
        confidence = np.min(sigma) / sigma
        labels = zeros(1, person.crop.shape[0])
        labels["keypoints_2d"][0] = np.concatenate([in_crop, confidence[:, None]], 1)
        labels["betas"][0], labels["has_betas"][0], labels["valid"][0] = person.betas, 1, 1
        labels.pop("image")
        state = self._state
        for _ in range(self._steps):
            state, _ = self._train(state, self._frozen, labels | inputs)
        return evaluation_params(state, self._frozen)


def for_one_person(config: Config, learning_rate: float) -> Config:
    """The configuration of a checkpoint for training on one person: no noise, and the keypoints in the image alone."""
    losses = {
        field.name: 0.0 for field in dataclasses.fields(LossConfig) if field.type is float or field.type == "float"
    }
    loss = LossConfig(**losses | {"keypoints_2d": 1.0, "betas": _SHAPE})  # type: ignore[arg-type]
    optim = OptimConfig(
        learning_rate=learning_rate, warmup_steps=0, weight_decay=0, schedule="constant", frozen=config.optim.frozen
    )
    model = dataclasses.replace(
        config.model,
        encoder=dataclasses.replace(config.model.encoder, drop_path=0.0),
        decoder=dataclasses.replace(config.model.decoder, dropout=0.0, feature_noise=0.0, feature_drop=0.0),
        d2a=dataclasses.replace(config.model.d2a, dropout=0.0, mask_ratio=0.0),
        dense_targets=False,
    )
    return dataclasses.replace(config, loss=loss, optim=optim, model=model)


def adapting_predictor(directory: str | Path | None, steps: int, body: str | Path | None = None, **options: Any) -> Any:
    """An `AdaptingPredictor` of a checkpoint; None: of the shipped model.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: it cannot be read, or it is an exported network, which cannot be trained.
    """
    config, params, network, checkpoint = load(directory, body)
    if network is not None:
        raise ValueError(f"{directory} is an exported network, which cannot be trained: give its checkpoint's folder.")
    predictor = AdaptingPredictor(config, params, steps, **options)
    predictor.checkpoint = checkpoint
    return predictor
