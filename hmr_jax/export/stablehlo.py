"""One file with a network as StableHLO: its functions, its parameters, its body, and what they are.

The file is a zip archive:

header.json            `hmr_jax.export.about`, and "format"
functions/NAME         each function, as `jax.export` serialises it: of variables (Flax's) and of inputs by name
variables/PATH.npy     the variables by their path; float16 where that is exact
body/NAME.npy          the arrays of the body model

A network whose encoder finds landmarks has two functions, "encode" and "predict" from what "encode" gives; so a crop
can be turned upright in between. Others have "predict" alone.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import flax
import jax
import numpy as np
from jax import export

from hmr_jax.batch import Prediction
from hmr_jax.body import BodyModel
from hmr_jax.config import Config, from_dict
from hmr_jax.export import about, parity
from hmr_jax.export.network import Arrays, Network
from hmr_jax.models.parameters import Params, from_variables, to_variables
from hmr_jax.models.pyramid import Encoded

FORMAT = "hmr_jax stablehlo"
PLATFORMS = ("cpu", "cuda", "tpu")
"""For which the functions are lowered."""
_FUNCTION = "functions/"
_BODY = ("v_template", "shapedirs", "posedirs", "joint_regressor", "skinning_weights", "faces", "landmarks")


class ExportedNetwork:
    """A network out of a file, in place of the Flax modules: with their `apply`, and without their code."""

    dtype = np.float32
    """Of the computation."""

    def __init__(self, header: dict[str, Any], functions: dict[str, Any], params: Params, body: BodyModel):
        """Of what a file holds, see `read`."""
        self.header = header
        self.config: Config = from_dict(header["config"])
        self.checkpoint: dict[str, Any] = header["checkpoint"]
        self.params = params
        self.body = body
        self.encoder: Any = _ExportedEncoder(functions["encode"]) if "encode" in functions else None
        """In place of `models.encoders.EncoderAlone`; None where no function "encode" was exported."""
        self.functions = functions
        """By name, of `jax.export`."""

    def apply(self, variables: Params, inputs: Arrays, train: bool = False) -> Prediction:
        """The prediction for crops, or for what the encoder says of them, as Flax's modules give it.

        Args:
            variables: of all parameters, `models.parameters.to_variables`.
            inputs: those that the header names; or "features" and "landmarks".
            train: must be False.
        """
        assert not train
        if self.encoder is not None:
            if "image" in inputs:
                inputs = self.encoder.apply(variables, inputs["image"])._asdict()
            variables = to_variables(
                {name: one for name, one in from_variables(variables).items() if name != "encoder"}
            )
        return Prediction(**self.functions["predict"].call(variables, inputs))


class _ExportedEncoder:
    """In place of `models.encoders.EncoderAlone`."""

    def __init__(self, function: Any):
        self._function = function

    def apply(self, variables: Params, images: jax.Array) -> Encoded:
        """(b, S, S, 3) uint8 crops -> what the encoder says of them; other groups than "encoder" are ignored."""
        own = {"params": {"encoder": variables["params"]["encoder"]}, "batch_stats": variables["batch_stats"]}
        return Encoded(**self._function.call(own, {"image": images}))


def write(path: Path, network: Network) -> None:
    """Writes a network to a file.

    Args:
        path: of the file, which is overwritten.
        network: what is exported.
    """
    (batch,) = export.symbolic_shape("b")
    inputs: Any = network.inputs(batch)
    functions = {}
    for name, function, variables in network.functions():
        exported = export.export(jax.jit(function), platforms=PLATFORMS)(jax.tree.map(_shape, variables), inputs)
        functions[name] = bytes(exported.serialize())
        inputs = jax.tree.unflatten(exported.out_tree, [_shape(array) for array in exported.out_avals])
    header = {"format": FORMAT, "platforms": PLATFORMS, "functions": list(functions)} | about.about(network, inputs)
    arrays = {f"body/{name}": getattr(network.body, name) for name in _BODY}
    arrays |= {f"body/regressors/{name}": array for name, array in network.body.regressors.items()}
    variables = flax.traverse_util.flatten_dict(to_variables(network.params), sep="/")
    arrays |= {f"variables/{name}": _exact_half(array) for name, array in variables.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, "header.json", json.dumps(header, indent=1).encode())
        for name, content in functions.items():
            _add(archive, _FUNCTION + name, content)
        for name, array in arrays.items():
            if array is not None:
                _add(archive, f"{name}.npy", _npy(np.asarray(array)))


def read_network(path: str | Path) -> ExportedNetwork:
    """Reads a network from a file that `write` wrote.

    Args:
        path: of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is another file, is damaged, or is of a later version of hmr_jax or jax.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no exported network {path}.")
    header = _header(path)
    if header is None:
        raise ValueError(
            f"{path} is no exported network, or is cut off: make one with hmr export CHECKPOINT --to stablehlo, or "
            "name a checkpoint's folder."
        )
    if header["version"] > about.VERSION:
        raise ValueError(
            f"{path} was written by {header['written_by']}, in a later format than this hmr_jax reads: update hmr_jax."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {
                name.removesuffix(".npy"): np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
                for name in archive.namelist()
                if name.endswith(".npy")
            }
            contents = {name: bytearray(archive.read(_FUNCTION + name)) for name in header["functions"]}
        params = from_variables(_tree(arrays, "variables/"))
        body = _body(arrays, header)
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is damaged ({error}): export the checkpoint again.") from error
    try:
        functions = {name: export.deserialize(content) for name, content in contents.items()}
    except Exception as error:  # of flatbuffers or of jax, for other versions
        raise ValueError(
            f"{path} was written by {header['written_by']}, whose functions jax {jax.__version__} cannot read: export "
            "the checkpoint again."
        ) from error
    try:
        return ExportedNetwork(header, functions, params, body)
    except ValueError as error:
        raise ValueError(f"{path} was written by {header['written_by']}, for another version: {error}") from error


def load(path: Path) -> parity.Run:
    """A file as a function from crops to bodies and landmarks, compiled for each size of batch."""
    read_back = read_network(path)
    variables, encoder = to_variables(jax.device_put(read_back.params)), read_back.encoder

    @jax.jit
    def run(variables: Params, inputs: Any) -> dict[str, Any]:
        if encoder is None:
            return vars(read_back.apply(variables, inputs))
        encoded = encoder.apply(variables, inputs["image"])._asdict()
        return vars(read_back.apply(variables, encoded)) | {"landmarks": encoded["landmarks"]}

    return lambda inputs: run(variables, dict(inputs))


def is_own(path: Path) -> bool:
    """Whether a file is an exported network of this format."""
    return path.is_file() and _header(path) is not None


def _header(path: Path) -> dict[str, Any] | None:
    """What a file says of itself; None: it is another file."""
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(archive.read("header.json"))
        return header if header["format"] == FORMAT else None
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, EOFError):
        return None


def _shape(array: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


def _exact_half(array: np.ndarray) -> np.ndarray:
    """The array as float16, if it has the same numbers there."""
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if np.array_equal(half.astype(array.dtype), array) else array


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Adds a file of no date, so that equal networks give equal files."""
    archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


def _tree(arrays: dict[str, np.ndarray], prefix: str) -> Params:
    own = {
        name.removeprefix(prefix): array.astype(np.float32) for name, array in arrays.items() if name.startswith(prefix)
    }
    return flax.traverse_util.unflatten_dict(own, sep="/")


def _body(arrays: dict[str, np.ndarray], header: dict[str, Any]) -> BodyModel:
    regressors: Any = {
        name.removeprefix("body/regressors/"): array
        for name, array in arrays.items()
        if name.startswith("body/regressors/")
    }
    fields: Any = {name: arrays.get(f"body/{name}") for name in _BODY}
    parents = tuple(header["parents"])
    return BodyModel(**fields, parents=parents, topology=header["topology"], regressors=regressors)
