"""Convert published weights: `python -m hmr_jax.weights.convert SOURCE --to OUT`.

The kind of the source (ViTPose, HMR2.0, Depth Anything, ResNet, HRNet, BlazePose; PyTorch, safetensors, TensorFlow
Lite or a folder of Hugging Face) is recognised by its content. OUT is a folder that `predict.py --checkpoint`,
`eval.py --checkpoint`, `train.py --init-from`, `load_for_inference` and `load_network` read. It is written atomically.
"""

import hashlib
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from tyro.conf import Positional, arg

from hmr_jax import __version__, cli, runtime
from hmr_jax.batch import zeros
from hmr_jax.checkpoints.converted import BACKBONE, DEPTH_ANYTHING, check_new, save_converted
from hmr_jax.config import Config, to_dict
from hmr_jax.config.depth_anything import DepthAnythingConfig
from hmr_jax.io.json_files import load_json
from hmr_jax.models import build_model
from hmr_jax.models.backbones import blazepose_detector
from hmr_jax.models.backbones.blazepose import IMAGE_SIZE, BlazePose
from hmr_jax.models.backbones.hrnet import HRNet
from hmr_jax.models.backbones.resnet import ResNet
from hmr_jax.models.depth_anything import DepthAnything
from hmr_jax.models.encoders import build_encoder
from hmr_jax.weights.blazepose import convert_blazepose
from hmr_jax.weights.checksums import check_sums
from hmr_jax.weights.detect import Converted, Options, convert_state
from hmr_jax.weights.tflite_file import is_tflite, read_tflite
from hmr_jax.weights.torch_files import Weights, checkpoint_files, read_torch_weights


def convert(source: Path, out: Path, options: Options | None = None) -> str:
    """Converts a checkpoint.

    Args:
        source: see `read_torch_checkpoint`; or a .tflite file of BlazePose.
        out: folder for the result; must not exist.
        options: settings that the file does not contain.

    Returns:
        The report: the parameters, the tensors that were dropped and why, and checksums.

    Raises:
        OSError: the source is missing, or the result exists.
        ValueError: the source cannot be read, is of an unknown network, or does not fit.
        KeyError: a tensor is missing.
    """
    check_new(out)
    weights, converted = read_converted(source, options or Options())
    checksums = {path.name: file_hash(path) for path in checkpoint_files(source)}
    described = {
        "kind": converted.kind,
        "files": checksums,
        "content": content_hash(converted.params),
        "dropped": converted.dropped,
        "stripped": converted.stripped,
        "key": weights.key,
        "version": __version__,
    }
    report = _report(source, out, weights, converted, described)
    save_converted(out, _config_values(converted.config), converted.params, described)
    return report


def read_converted(source: Path, options: Options) -> tuple[Weights, Converted]:
    """The tensors of a checkpoint, and what they are converted to, checked to be those of the network; see `convert`.

    Raises:
        OSError, ValueError, KeyError: as `convert`; the message names the source.
    """
    try:
        weights, converted = _read(source, options)
        check_shapes(converted)
    except KeyError as error:
        raise KeyError(f"{source} cannot be converted. {error.args[0]}") from error
    except ValueError as error:
        if str(source) in str(error):
            raise
        raise ValueError(f"{source} cannot be converted. {error}") from error
    return weights, converted


def _read(source: Path, options: Options) -> tuple[Weights, Converted]:
    if source.is_file() and is_tflite(_head(source)):
        variant, params = convert_blazepose(read_tflite(source))
        state = flax.traverse_util.flatten_dict(params, sep="/")
        return Weights(state), Converted(
            f"BlazePose ({variant})", {"name": f"blazepose_{variant}"}, {"encoder": params}
        )
    weights = read_torch_weights(source, options.prefix)
    check_sums(source)
    return weights, convert_state(weights.state, replace(options, prefix=weights.prefix), _hints(source))


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)


def _config_values(config: Any) -> dict:
    """Contents of config.json: an experiment, or the configuration of a network under its kind."""
    if isinstance(config, Config):
        return to_dict(config)
    return {BACKBONE: config} if isinstance(config, dict) else {DEPTH_ANYTHING: to_dict(config)}


def check_shapes(converted: Converted) -> None:
    """Raises ValueError unless the parameters are those of the model that the configuration describes."""
    shapes = _model_shapes(converted.config)
    wanted, given = (flax.traverse_util.flatten_dict(tree, sep="/") for tree in (shapes, converted.params))
    for name in sorted(set(wanted) | set(given)):
        pair = [tree[name].shape if name in tree else None for tree in (wanted, given)]
        if pair[0] != pair[1]:
            raise ValueError(
                f"'{name}' would have shape {pair[1]}, but the model needs {pair[0]}: is it {converted.kind}?"
            )


def _model_shapes(config: Any) -> Any:
    if isinstance(config, Config):
        size = config.model.encoder.image_size
        if config.model.name == "dense":  # an encoder alone; the dense heads are trained here
            encoder = build_encoder(config.model.encoder, "xla", jnp.float32)
            return {"encoder": _shapes(encoder, (1, *size, 3))}
        model: Any = build_model(config.model)
        return jax.eval_shape(model.init, jax.random.key(0), zeros(1, size[0]))["params"]
    if isinstance(config, DepthAnythingConfig):
        side = config.patch_size * config.grid
        return _shapes(DepthAnything(config), (1, side, side, 3))
    if config["name"] == "blazepose_detector":
        side = blazepose_detector.IMAGE_SIZE
        return {"encoder": _shapes(blazepose_detector.BlazePoseDetector(), (1, side, side, 3))}
    if config["name"].startswith("blazepose_"):
        network = BlazePose(config["name"].removeprefix("blazepose_"))
        return {"encoder": _shapes(network, (1, IMAGE_SIZE, IMAGE_SIZE, 3))}
    number: Any = int(re.findall(r"\d+$", config["name"])[0])
    backbone: Any = ResNet(number) if config["name"].startswith("resnet") else HRNet(number)
    shapes = jax.eval_shape(backbone.init, jax.random.key(0), np.zeros((1, 64, 64, 3), np.float32))
    return {"encoder": shapes["params"], "batch_stats": {"encoder": shapes["batch_stats"]}}


def _shapes(model: Any, size: tuple[int, ...]) -> Any:
    return jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct(size, np.float32))["params"]


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(params: dict) -> str:
    """SHA-256 of parameters: names, shapes, types and values in the order of the names.

    It does not depend on how they were stored: the same network from another file, with other names, has the same hash.
    """
    total = hashlib.sha256()
    for name, array in sorted(flax.traverse_util.flatten_dict(params, sep="/").items()):
        total.update(f"{name} {array.shape} {array.dtype}\n".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def _hints(source: Path) -> dict[str, Any]:
    """The config.json of a Hugging Face folder, or beside a file of one, and the path."""
    hints = {"path": str(source)}
    path = (source if source.is_dir() else source.parent) / "config.json"
    if not path.exists():
        return hints
    try:
        values = load_json(path)
    except ValueError:
        if source.is_dir():
            raise
        return hints
    is_of_source = isinstance(values, dict) and (source.is_dir() or values.get("model_type") == "depth_anything")
    return values | hints if is_of_source else hints


def _report(source: Path, out: Path, weights: Weights, converted: Converted, described: dict) -> str:
    state = weights.state
    lines = [f"{source} is {converted.kind}: {len(state)} tensors"]
    if weights.others:
        others = " and ".join(f"{count} under '{key}'" for key, count in weights.others.items())
        taken = f"those under '{weights.key}'" if weights.key else "those that are under no key"
        lines.append(
            f"taken are {taken}; the file also holds tensors that were not taken: {others} (to take others, give "
            f"--prefix, such as --prefix {next(iter(weights.others))}.)"
        )
    lines += [f"their names are read without {converted.stripped}"] if converted.stripped else []
    lines.append("")
    lines.append(f"{'group':<28}{'arrays':>8}{'parameters':>15}  type")
    for group, layers in converted.params.items():
        for name, arrays in [(group, layers), *((f"  {group}/{layer}", tree) for layer, tree in layers.items())]:
            leaves = jax.tree.leaves(arrays)
            kinds = ", ".join(sorted({str(leaf.dtype) for leaf in leaves}))
            lines.append(f"{name:<28}{len(leaves):>8}{sum(leaf.size for leaf in leaves):>15,}  {kinds}")
    for reason, count in Counter(converted.dropped.values()).items():
        names = [name for name, why in converted.dropped.items() if why == reason]
        numbers = sum(state[name].size for name in names if name in state)
        shown = ", ".join(names[:2]) + (", ..." if count > 2 else "")
        lines.append(f"{'dropped':<28}{count:>8}{numbers:>15,}  {reason}: {shown}")
    lines.append("")
    lines += [f"sha256 of {name}  {digest}" for name, digest in described["files"].items()]
    lines += [f"sha256 of the parameters  {described['content']}", f"written to {out}"]
    return "\n".join(lines)


def main(
    source: Positional[Annotated[Path, arg(metavar="SOURCE")]],
    to: Path,
    heads: int | None = None,
    head_dim: int = 64,
    image_size: tuple[int, int] | None = None,
    expert: int = 0,
    encoder_only: bool = False,
    body: str = "default",
    max_depth: float | None = None,
    prefix: str | None = None,
) -> None:
    """Converts a published checkpoint.

    Args:
        source: a .pth, .pt, .ckpt, .bin, .safetensors or .tflite file, or a folder of Hugging Face.
        to: folder for the result; must not exist.
        heads: attention heads of the encoder, where its width is not a published one.
        head_dim: width of an attention head of HMR2.0's decoder.
        image_size: height and width of the encoder's input, where it is not 4:3.
        expert: of ViTPose+: 0 COCO, then the other data sets in its order.
        encoder_only: take the image encoder alone, also of networks built on HMR2.0 (TokenHMR, CameraHMR).
        body: of HMR2.0's predictions: a path to SMPL_NEUTRAL.npz, or "default" for the built-in body.
        max_depth: of Depth Anything's metric networks, whose .pth files do not state it: 20 metres for hypersim, 80
            for vkitti.
        prefix: what the names of the network start with, such as ema. or, of weights beside those under state_dict,
            state_dict_ema., where the file holds several.
    """
    runtime.set_up()
    body = str(Path(body).resolve()) if body != "default" else body
    print(convert(source, to, Options(heads, head_dim, image_size, expert, encoder_only, body, max_depth, prefix)))


if __name__ == "__main__":
    cli.run(main, "python -m hmr_jax.weights.convert")
