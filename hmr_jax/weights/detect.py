"""Recognise the network of a state dict by its names, convert it, and infer its configuration from its shapes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hmr_jax.config import (
    Config,
    DataConfig,
    DecoderConfig,
    EncoderConfig,
    ModelConfig,
    OptimConfig,
)
from hmr_jax.config.depth_anything import DepthAnythingConfig, is_called_metric
from hmr_jax.weights.depth_anything import convert_depth_anything, is_original, num_patches_side
from hmr_jax.weights.hmr2 import convert_hmr2
from hmr_jax.weights.hrnet import convert_hrnet
from hmr_jax.weights.prefixes import unwrap
from hmr_jax.weights.resnet import convert_resnet
from hmr_jax.weights.state import State
from hmr_jax.weights.vitpose import convert_vitpose

_HEADS = {384: 12, 768: 12, 1024: 16, 1280: 16}  # ViTPose S, B, L, H by width
_DEPTH_ANYTHING = {  # by width: heads, and the blocks whose output version 2 uses
    384: (6, (2, 5, 8, 11)),
    768: (12, (2, 5, 8, 11)),
    1024: (16, (4, 11, 17, 23)),
}


@dataclass(frozen=True)
class Options:
    """Settings that a state dict does not contain; None: those of the published networks."""

    heads: int | None = None
    """Attention heads of the encoder."""
    head_dim: int = 64
    """Width of an attention head of HMR2.0's decoder."""
    image_size: tuple[int, int] | None = None
    """Height and width of the encoder's input, px."""
    expert: int = 0
    """Expert of ViTPose+: 0 is COCO."""
    encoder_only: bool = False
    """Convert the image encoder only."""
    body: str = "default"
    """Body model of HMR2.0's predictions: "default", or a path to SMPL."""
    max_depth: float | None = None
    """Metres at which the output of a metric Depth Anything ends, 0 for one of inverse depth; None: as it states."""
    prefix: str | None = None
    """What the names of the network start with, such as "ema.", where the file holds more; None: it is found."""


@dataclass(frozen=True)
class Converted:
    """A converted checkpoint."""

    kind: str
    """The kind of checkpoint, for messages."""
    config: Config | DepthAnythingConfig | dict
    """Of an experiment, of a Depth Anything network, or {"name": ...} of a backbone."""
    params: dict
    dropped: dict[str, str] = field(default_factory=dict)
    """Names of the tensors that were dropped, and why."""
    stripped: str = ""
    """Parts of the names that wrappers of the network had added, for messages."""


def convert_state(state: State, options: Options | None = None, hints: Mapping[str, Any] | None = None) -> Converted:
    """Recognises a checkpoint by its names and converts it.

    Args:
        state: PyTorch names to arrays.
        options: settings that the state does not contain.
        hints: the config.json of a Hugging Face folder, if it is from one, and "path", where it was read.

    Raises:
        ValueError: the network is unknown, or a tensor is not used or has another shape.
        KeyError: a tensor is missing.
    """
    options, hints = options or Options(), hints or {}
    unwrapped = unwrap(state, identify, options.prefix, options.encoder_only)
    kind = identify(unwrapped.state)
    if kind is None:
        shown = ", ".join(list(unwrapped.state)[:8])
        raise ValueError(f"The checkpoint is not of a known network ({known_kinds()}). It holds {shown}, ...")
    converted = _CONVERTERS[kind](unwrapped.state, options, hints)
    dropped = {unwrapped.originals[name]: reason for name, reason in converted.dropped.items()}
    return replace(converted, dropped=dropped | unwrapped.dropped, stripped=unwrapped.stripped)


def known_kinds() -> str:
    """Names of the networks that can be converted."""
    return ", ".join(_CONVERTERS)


def identify(state: State) -> str | None:
    """The name of the network, or None; by characteristic tensors only, the converter checks the rest."""

    def some(*starts: str) -> bool:
        return any(name.startswith(starts) for name in state)

    if some("depth_head.") or (some("neck.reassemble_stage.") and some("backbone.")):
        return "Depth Anything"
    if some("smpl_head."):
        return "HMR2.0"
    plain = {name.removeprefix("backbone.") for name in state}
    if plain & {"blocks.0.norm1.weight", "encoder.layer.0.layernorm_before.weight"}:
        return "ViTPose"
    if plain & {"stage4.0.branches.0.0.conv1.weight", "transition3.3.0.0.weight"}:
        return "HRNet"
    if plain & {"layer4.0.conv1.weight", "layer1.0.conv3.weight"}:
        return "ResNet"
    return None


# --------------------------------------------------------------------------------------------------- one network each


def _vitpose(state: State, options: Options, hints: Mapping[str, Any]) -> Converted:
    dropped: dict[str, str] = {}
    if options.encoder_only and any(name.startswith("backbone.") for name in state):
        state = _only(state, "backbone.", dropped)
    params = {"encoder": convert_vitpose(state, None, options.expert, dropped)}
    if any("experts." in name for name in state):
        kind = f"ViTPose+ with expert {options.expert}"
    elif any("encoder.layer." in name for name in state):
        kind = "ViTPose of Hugging Face"
    else:
        kind = "ViTPose" if any(name.startswith("backbone.") for name in state) else "a ViTPose backbone"
    encoder = _encoder_config(params["encoder"], options, hints)
    data = DataConfig(crop_size=encoder.image_size[0])
    config = Config(name="vitpose", model=ModelConfig("dense", encoder, body=options.body), data=data)
    return Converted(kind, config, params, dropped)


def _hmr2(state: State, options: Options, hints: Mapping[str, Any]) -> Converted:
    if options.encoder_only:
        converted = _vitpose(state, options, hints)
        return Converted("HMR2.0's encoder", converted.config, converted.params, converted.dropped)
    dropped: dict[str, str] = {}
    params = convert_hmr2(state, dropped)
    decoder, encoder = params["decoder"], _encoder_config(params["encoder"], options, hints)
    inner = decoder["layer_0"]["self_attention"]["query"]["kernel"].shape[1]
    if inner % options.head_dim:
        raise ValueError(f"The decoder's {inner} channels are not a multiple of {options.head_dim}: give --head-dim.")
    config = Config(
        name="hmr2",
        model=ModelConfig(
            encoder=encoder,
            decoder=DecoderConfig(
                queries="single",
                attention="plain",
                dim=decoder["queries"].shape[1],
                depth=len(decoder) - 1,
                num_heads=inner // options.head_dim,
                head_dim=options.head_dim,
                mlp_dim=len(decoder["layer_0"]["fc1"]["bias"]),
            ),
            body=options.body,
        ),
        optim=OptimConfig(learning_rate=1e-5, frozen=()),
        data=DataConfig(crop_size=encoder.image_size[0]),
    )
    return Converted("HMR2.0", config, params, dropped)


def _depth_anything(state: State, options: Options, hints: Mapping[str, Any]) -> Converted:
    dropped: dict[str, str] = {}
    params = convert_depth_anything(state, dropped)
    encoder, head = params["encoder"], params["head"]
    dim = len(encoder["cls_token"])
    depth = sum(name.startswith("block_") for name in encoder)
    heads, taps = _DEPTH_ANYTHING.get(dim, (None, None))
    backbone = hints.get("backbone_config") or {}
    heads = options.heads or backbone.get("num_attention_heads") or heads
    if backbone.get("out_indices"):
        taps = tuple(index - 1 for index in backbone["out_indices"])  # transformers counts the embedding as 0
    taps = taps or tuple(depth * (stage + 1) // 4 - 1 for stage in range(4))
    if not heads:
        raise ValueError(f"The number of attention heads of an encoder of width {dim} is not known: give --heads.")
    config = DepthAnythingConfig(
        dim=dim,
        depth=depth,
        num_heads=heads,
        mlp_ratio=len(encoder["block_0"]["fc1"]["bias"]) // dim,
        patch_size=encoder["patch_embed"]["kernel"].shape[0],
        grid=num_patches_side(params),
        taps=taps,
        neck_dims=tuple(len(head[f"project_{stage}"]["bias"]) for stage in range(4)),
        fusion_dim=head["reduce_0"]["kernel"].shape[-1],
        head_dim=len(head["output2"]["bias"]),
        max_depth=_max_depth(options, hints),
        position_offset=0.1 if is_original(state) else 0.0,
        size=num_patches_side(params) * encoder["patch_embed"]["kernel"].shape[0],
    )
    dialect = "original names" if is_original(state) else "Hugging Face's names"
    return Converted(f"Depth Anything ({dialect})", config, params, dropped)


def _max_depth(options: Options, hints: Mapping[str, Any]) -> float:
    """As the user states it, or the file; the tensors of metric networks are called as those of the others."""
    stated = options.max_depth
    if stated is None and "depth_estimation_type" in hints:
        stated = hints.get("max_depth") if hints["depth_estimation_type"] == "metric" else 0.0
    elif stated is None and not is_called_metric(hints.get("path", "")):
        stated = 0.0
    if stated is None:
        raise ValueError(
            f"{hints.get('path', 'The checkpoint')} seems to be a metric network: give --max-depth, in metres (20 for "
            "hypersim or indoor, 80 for vkitti or outdoor), or --max-depth 0 if it gives inverse depth."
        )
    if not 0 <= float(stated) < math.inf:
        raise ValueError(f"A largest depth of {stated} metres: give a positive number, or 0 for inverse depth.")
    return float(stated)


def _convolutional(state: State, options: Options, hints: Mapping[str, Any]) -> Converted:
    dropped: dict[str, str] = {}
    prefix = "backbone." if any(name.startswith("backbone.") for name in state) else ""
    if options.encoder_only:
        state = _only(state, prefix, dropped)
    others = sorted(name for name in state if not name.startswith(prefix))
    if others:
        raise ValueError(f"The checkpoint holds more than an image backbone ({others[0]}, ...): give --encoder-only.")
    if identify(state) == "HRNet":
        variables = convert_hrnet(state, prefix, dropped)
        width = variables["params"]["stage2"]["branch0"]["block"]["conv1"]["conv"]["kernel"].shape[-1]
        kind, name = f"HRNet-W{width}", f"hrnet_w{width}"
    else:
        variables = convert_resnet(state, prefix, dropped)
        depth = 2 + 3 * sum(name.startswith("layer") for name in variables["params"])
        kind, name = f"ResNet-{depth}", f"resnet{depth}"
    # The tree of an experiment with this encoder: groups of parameters, and running statistics by group.
    params = {"encoder": variables["params"], "batch_stats": {"encoder": variables["batch_stats"]}}
    return Converted(kind, {"name": name}, params, dropped)


_CONVERTERS: dict[str, Callable[[State, Options, Mapping[str, Any]], Converted]] = {
    "HMR2.0": _hmr2,
    "ViTPose": _vitpose,
    "Depth Anything": _depth_anything,
    "ResNet": _convolutional,
    "HRNet": _convolutional,
}


# ------------------------------------------------------------------------------------------------------------- shapes


def _encoder_config(params: dict, options: Options, hints: Mapping[str, Any]) -> EncoderConfig:
    backbone = hints.get("backbone_config") or hints
    dim, patch = params["pos_embed"].shape[1], params["patch_embed"]["kernel"].shape[0]
    heads = options.heads or backbone.get("num_attention_heads") or _HEADS.get(dim)
    if not heads:
        raise ValueError(f"The number of attention heads of an encoder of width {dim} is not known: give --heads.")
    hint = backbone.get("image_size")
    size = options.image_size or (tuple(hint) if isinstance(hint, (list, tuple)) else None)
    block = params["blocks"]["block"]
    return EncoderConfig(
        image_size=size or _image_size(len(params["pos_embed"]) - 1, patch),
        patch_size=patch,
        dim=dim,
        depth=len(block["fc1"]["bias"]),
        num_heads=heads,
        mlp_ratio=block["fc1"]["bias"].shape[1] // dim,
    )


def _image_size(patches: int, patch: int) -> tuple[int, int]:
    """Height and width, px, of the 4:3 image (as in ViTPose) that has this number of patches."""
    unit = math.isqrt(patches // 12)
    if 12 * unit**2 != patches:
        raise ValueError(f"{patches} positions do not form an image of 4:3: give --image-size HEIGHT WIDTH.")
    return 4 * unit * patch, 3 * unit * patch


def _only(state: State, prefix: str, dropped: dict[str, str]) -> dict[str, np.ndarray]:
    dropped.update({name: "not part of the encoder" for name in state if not name.startswith(prefix)})
    return {name: array for name, array in state.items() if name.startswith(prefix)}
