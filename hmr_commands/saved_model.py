"""A folder with a network as TensorFlow's SavedModel, for TensorFlow and TensorFlow Serving.

The signature "serving_default" takes inputs and gives outputs by name. What they are stands in the file
assets.extra/hmr_jax.json (`hmr_jax.export.about`). TensorFlow is imported when something is exported. This module
stands outside of `hmr_jax`, which knows no TensorFlow.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from hmr_jax.export import about, parity
from hmr_jax.export.network import Network
from hmr_jax.export.writing import FORMATS as FORMATS_OF_JAX
from hmr_jax.export.writing import Format
from hmr_jax.io.json_files import load_json, write_json

FORMAT = "hmr_jax savedmodel"
FORMATS = FORMATS_OF_JAX | {"savedmodel": Format("hmr_commands.saved_model", "_savedmodel", folder=True)}
"""All that `hmr export` writes."""
PLATFORMS = ("cpu", "cuda", "tpu")
"""For which the network is lowered."""
_ABOUT = Path("assets.extra") / "hmr_jax.json"


def write(path: Path, network: Network) -> None:
    """Writes a network.

    Args:
        path: of a folder, which is empty.
        network: what is exported.

    Raises:
        ImportError: TensorFlow is not installed, or this jax has no converter for it.
    """
    tf, jax2tf = _tensorflow()
    forward, variables = network.whole()
    leaves, tree = jax.tree.flatten(variables)
    inputs = network.inputs(1)
    shapes = {name: f"(b{', _' * (len(one.shape) - 1)})" for name, one in inputs.items()}
    converted = jax2tf.convert(
        lambda leaves, given: forward(jax.tree.unflatten(tree, leaves), given),
        polymorphic_shapes=[None, shapes],
        with_gradient=False,
        native_serialization_platforms=PLATFORMS,
    )
    module = tf.Module()
    module.parameters = [tf.Variable(leaf, trainable=False) for leaf in leaves]

    def predict(**given: Any) -> dict[str, Any]:
        return converted(module.parameters, given)

    signature = {name: tf.TensorSpec((None, *one.shape[1:]), one.dtype, name=name) for name, one in inputs.items()}
    module.predict = tf.function(predict, autograph=False)
    concrete = module.predict.get_concrete_function(**signature)
    tf.saved_model.save(module, str(path), signatures={"serving_default": concrete})
    header = {"format": FORMAT, "platforms": PLATFORMS}
    (path / _ABOUT).parent.mkdir()
    write_json(path / _ABOUT, header | about.about(network, _outputs(concrete)))


def load(path: Path) -> parity.Run:
    """A folder as a function from crops to bodies and landmarks."""
    tf, _ = _tensorflow()
    model = tf.saved_model.load(str(path))

    def run(inputs: Any) -> dict[str, np.ndarray]:
        # The signature is read from the model each time, as it lives no longer than the model.
        try:
            found = model.signatures["serving_default"](**inputs)
        except tf.errors.InvalidArgumentError as error:
            if "deserialize" not in str(error):
                raise
            raise ValueError(
                f"TensorFlow {tf.__version__} cannot read what jax {jax.__version__} writes: install jax 0.10, or "
                "export to stablehlo or onnx."
            ) from error
        return {name: array.numpy() for name, array in found.items()}

    return run


def is_own(path: Path) -> bool:
    """Whether a folder is an exported network of this format."""
    try:
        return load_json(path / _ABOUT).get("format") == FORMAT
    except (OSError, ValueError, AttributeError):
        return False


def _tensorflow() -> tuple[Any, Any]:
    """TensorFlow, and jax's converter for it."""
    try:
        import tensorflow
    except ImportError as error:
        raise ImportError("A SavedModel needs TensorFlow: `pip install 'hmr_jax[train]'`.") from error
    try:
        from jax.experimental import jax2tf
    except ImportError as error:
        raise ImportError(
            f"jax {jax.__version__} has no converter for TensorFlow: install jax 0.10, or export to stablehlo or onnx."
        ) from error
    return tensorflow, jax2tf


def _outputs(concrete: Any) -> dict[str, Any]:
    """Shapes and types of outputs by name, as `about` takes them."""
    found = concrete.structured_outputs
    return {name: jax.ShapeDtypeStruct((0, *one.shape[1:]), one.dtype.as_numpy_dtype) for name, one in found.items()}
