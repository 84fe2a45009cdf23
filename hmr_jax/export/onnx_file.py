"""One file with a network as ONNX: one graph from crops to bodies, for onnxruntime and its like.

Inputs and outputs are named after the fields of a batch and of `hmr_jax.batch.Prediction`; "landmarks" are the
encoder's. What they are stands in the metadata, each entry of `hmr_jax.export.about` as JSON, and the body's "faces".
"""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from hmr_jax.export import about, parity
from hmr_jax.export.network import Network
from hmr_jax.export.onnx_graph import Graph, Value
from hmr_jax.export.onnx_jaxpr import convert

FORMAT = "hmr_jax onnx"
OPSET, IR_VERSION = 20, 9
"""Of the file; onnxruntime 1.17 and later read them."""


def write(path: Path, network: Network) -> None:
    """Writes a network to a file.

    Args:
        path: of the file, which is overwritten.
        network: what is exported.

    Raises:
        ImportError: the package onnx is not installed.
        ValueError: the network has an operation without a counterpart in ONNX.
    """
    onnx = _onnx()
    (batch,) = export.symbolic_shape("b")
    forward, variables = network.whole()
    inputs = network.inputs(batch)
    traced = jax.make_jaxpr(lambda given: forward(variables, given), return_shape=True)
    closed, outputs = traced(inputs)
    graph = Graph(batch)
    # JAX orders a dictionary by its names.
    given: list[Value] = [graph.input(name, inputs[name].shape, inputs[name].dtype) for name in sorted(inputs)]
    results = convert(graph, closed.jaxpr, [np.asarray(one) for one in closed.consts], given)
    for name, result in zip(sorted(outputs), results, strict=True):
        graph.output(name, result, outputs[name].shape, outputs[name].dtype)
    model = graph.model(network.config.model.name, OPSET, IR_VERSION)
    header = {"format": FORMAT} | about.about(network, outputs)
    header["faces"] = np.asarray(network.body.faces).tolist()
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in header.items()})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def load(path: Path) -> parity.Run:
    """A file as a function from crops to bodies and landmarks, run by onnxruntime on CPUs."""
    session = _onnxruntime().InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(None, dict(inputs)), strict=True))


def is_own(path: Path) -> bool:
    """Whether a file is an exported network of this format."""
    try:
        model = _onnx().load(path, load_external_data=False)
    except Exception:  # of protobuf, for other files
        return False
    return any(entry.key == "format" and entry.value == json.dumps(FORMAT) for entry in model.metadata_props)


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise ImportError("ONNX needs the package onnx: `pip install 'hmr_jax[export]'`.") from error
    return onnx


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError("ONNX is checked with onnxruntime: `pip install 'hmr_jax[export]'`.") from error
    return onnxruntime
