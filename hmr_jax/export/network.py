"""What is exported: a checkpoint's network as functions of arrays, which call nothing of this package.

Shapes: b batch, of any size; S side of the crop.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hmr_jax.body import BodyModel, named_body
from hmr_jax.checkpoints import SHIPPED_MODEL, describe, load_for_inference
from hmr_jax.config import Config
from hmr_jax.models import build_model, needs_depth
from hmr_jax.models.backbones.vit import unstack_blocks
from hmr_jax.models.encoders import EncoderAlone, finds_landmarks
from hmr_jax.models.parameters import Params, encoder_variables, parameters_hash, to_variables
from hmr_jax.ops.cpu import portable

Arrays = dict[str, Any]
"""Of NumPy or JAX, by the names of the fields of a batch or of a prediction."""
Function = Callable[[Params, Arrays], Arrays]
"""Of Flax's variables and inputs."""
OUTPUTS = (
    "vertices", "joints", "keypoints_3d", "keypoints_2d", "global_orient", "body_pose", "betas", "camera", "sigma",
    "silhouette", "sampling_points", "gates",
)  # fmt: skip
"""Fields of `hmr_jax.batch.Prediction` that are exported, where the model predicts them."""
FULL_PRECISION = "highest"
"""Of matrix products: float32 on accelerators too, as an exported network is to give the same everywhere."""


@dataclass(frozen=True)
class Network:
    """A checkpoint's network, to be exported."""

    config: Config
    """Of the checkpoint; computed in float32, with the back ends that every platform has."""
    params: Params
    """All parameters, float32, as `models.backbones.vit.unstack_blocks` arranges them."""
    checkpoint: dict[str, Any]
    """Name and step."""
    module: Any
    """The Flax module."""

    @property
    def body(self) -> BodyModel:
        """The body model."""
        return self.module.body

    @property
    def looks_first(self) -> bool:
        """Whether the encoder finds landmarks, by which crops are turned upright before the decoder sees them."""
        return finds_landmarks(self.config.model.encoder) and not needs_depth(self.config.model)

    @property
    def fitted(self) -> tuple[str, ...]:
        """Outputs that are not read from the network but fitted to the vertices that it predicts."""
        d2a = self.config.model.name == "d2a_hmr" and self.config.model.d2a.head == "vertices"
        return ("global_orient", "body_pose", "betas") if d2a else ()

    @property
    def parameters_hash(self) -> str:
        """A hash of the parameters, that of `Predictor.parameters_hash` on CPUs."""
        return parameters_hash(self.params)

    def inputs(self, batch: Any) -> dict[str, jax.ShapeDtypeStruct]:
        """What the network takes, at a batch size, which may be symbolic."""
        side = self.config.data.crop_size
        taken = {"image": jax.ShapeDtypeStruct((batch, side, side, 3), jnp.uint8)}
        if needs_depth(self.config.model):
            taken["pseudo_depth"] = jax.ShapeDtypeStruct((batch, side, side), jnp.uint8)
            taken["has_pseudo_depth"] = jax.ShapeDtypeStruct((batch,), jnp.float32)
        return taken

    def functions(self) -> Iterator[tuple[str, Function, Params]]:
        """Names, functions and their variables: "encode" if the network looks first, and "predict" from what it gives.

        They are new functions each time: JAX keeps what it traced of a function, which may not be portable.
        """
        if self.looks_first:
            yield "encode", self._encode(), encoder_variables(self.params)
            rest = {name: group for name, group in self.params.items() if name != "encoder"}
            yield "predict", self._predict(), to_variables(rest)
        else:
            yield "predict", self._predict(), to_variables(self.params)

    def whole(self) -> tuple[Function, Any]:
        """One function from crops to bodies, with the encoder's landmarks if it finds any, and its variables."""
        functions = list(self.functions())

        def forward(variables: Any, inputs: Arrays) -> Arrays:
            found: Arrays = {}
            for (_, function, _), own in zip(functions, variables, strict=True):
                inputs = function(own, inputs)
                found |= {name: array for name, array in inputs.items() if name in (*OUTPUTS, "landmarks")}
            return found

        return forward, [variables for _, _, variables in functions]

    def reference(self) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
        """The Flax network itself, with this machine's own kernels: for comparisons."""
        forward, params = jax.jit(self._whole_as_it_is()), jax.device_put(self.params)

        def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            with jax.default_matmul_precision(FULL_PRECISION):
                return jax.device_get(forward(params, dict(inputs)))

        return run

    def _whole_as_it_is(self) -> Function:
        predict = self._run(self.module, OUTPUTS)
        if not self.looks_first:
            return lambda params, inputs: predict(to_variables(params), inputs)
        encode = self._run(self._encoder(), ("features", "landmarks"))

        def forward(params: Params, inputs: Arrays) -> Arrays:
            encoded = encode(encoder_variables(params), inputs["image"])
            return predict(to_variables(params), encoded) | {"landmarks": encoded["landmarks"]}

        return forward

    def _encoder(self) -> EncoderAlone:
        return EncoderAlone(self.config.model, jnp.float32)

    def _run(self, module: Any, fields: tuple[str, ...], **options: Any) -> Function:
        def run(variables: Params, inputs: Any) -> Arrays:
            made = module.apply(variables, inputs, **options)
            made = made._asdict() if hasattr(made, "_asdict") else vars(made)
            return {name: made[name] for name in fields if made[name] is not None}

        return run

    def _encode(self) -> Function:
        run = self._run(self._encoder(), ("features", "landmarks"))
        return _portable(lambda variables, inputs: run(variables, inputs["image"]))

    def _predict(self) -> Function:
        return _portable(self._run(self.module, OUTPUTS))


def load_network(checkpoint: str | Path, body: str | Path | None = None) -> Network:
    """The network of a checkpoint.

    Args:
        checkpoint: a run's folder, one of its checkpoints, an exported or converted folder; "model": the shipped one.
        body: file or folder of the checkpoint's body, if it is not where it was in training.

    Raises:
        FileNotFoundError: there is no such checkpoint, or its body is not found.
        ValueError: it cannot be read, predicts no bodies, or is an exported file.
    """
    path = SHIPPED_MODEL if str(checkpoint) == "model" and not Path(checkpoint).exists() else Path(checkpoint)
    if path.is_file():
        raise ValueError(f"{path} is a file: name the folder of a checkpoint, or 'model' for the built-in one.")
    config, params = load_for_inference(path)
    if config.model.name == "dense":
        raise ValueError(f"{path} predicts no bodies, so there is nothing to export: it is an encoder for training.")
    model = named_body(config.model, body)
    model = dataclasses.replace(
        model,
        dtype="float32",
        attention="xla",
        encoder=dataclasses.replace(model.encoder, remat=False),
        decoder=dataclasses.replace(model.decoder, sampling="matmul"),  # "gather" has equal results
    )
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), unstack_blocks(params))
    return Network(dataclasses.replace(config, model=model), params, describe(path), build_model(model))


def _portable(function: Function) -> Function:
    def run(variables: Params, inputs: Arrays) -> Arrays:
        with portable(), jax.default_matmul_precision(FULL_PRECISION):
            return function(variables, inputs)

    return run
