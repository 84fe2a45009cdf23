"""Convert Depth Anything checkpoints to the parameters of `models.depth_anything.DepthAnything`.

Original files name the DINOv2 encoder `pretrained.` and the DPT head `depth_head.`; those of Hugging Face name them
`backbone.`, `neck.` and `head.`.
"""

from dataclasses import dataclass, replace

import numpy as np

from hmr_jax.weights.state import State, StrictState
from hmr_jax.weights.transformer import HUGGING_FACE, ORIGINAL, BlockNames, count_blocks, read_block

KIND = "a Depth Anything network"
STAGES = 4


@dataclass(frozen=True)
class _Names:
    """Names of tensors; {} is the index of a stage, counted from the finest map."""

    encoder: str
    blocks: BlockNames
    embeddings: tuple[str, str, str, str]
    """Class token, positions, patches, mask token."""
    norm: str
    project: str
    resize: str
    reduce: str
    fuse: str
    unit: str
    """A residual unit in `fuse`; {} is 1 or 2."""
    unit_conv: str
    fuse_out: str
    output: tuple[str, str, str]
    fuse_is_reversed: bool
    """Whether fusions are counted from the coarsest map."""
    fuse_from: int
    """Number of the first fusion and reduction."""


_ORIGINAL = _Names(
    encoder="pretrained.",
    blocks=replace(ORIGINAL, scales=("ls1.gamma", "ls2.gamma")),
    embeddings=("cls_token", "pos_embed", "patch_embed.proj", "mask_token"),
    norm="norm",
    project="depth_head.projects.{}",
    resize="depth_head.resize_layers.{}",
    reduce="depth_head.scratch.layer{}_rn",
    fuse="depth_head.scratch.refinenet{}.",
    unit="resConfUnit{}.",
    unit_conv="conv{}",
    fuse_out="out_conv",
    output=(
        "depth_head.scratch.output_conv1",
        "depth_head.scratch.output_conv2.0",
        "depth_head.scratch.output_conv2.2",
    ),
    fuse_is_reversed=False,
    fuse_from=1,
)
_HUGGING_FACE = _Names(
    encoder="backbone.",
    blocks=replace(
        HUGGING_FACE, norm1="norm1", norm2="norm2", scales=("layer_scale1.lambda1", "layer_scale2.lambda1")
    ),
    embeddings=(
        "embeddings.cls_token", "embeddings.position_embeddings", "embeddings.patch_embeddings.projection",
        "embeddings.mask_token",
    ),
    norm="layernorm",
    project="neck.reassemble_stage.layers.{}.projection",
    resize="neck.reassemble_stage.layers.{}.resize",
    reduce="neck.convs.{}",
    fuse="neck.fusion_stage.layers.{}.",
    unit="residual_layer{}.",
    unit_conv="convolution{}",
    fuse_out="projection",
    output=("head.conv1", "head.conv2", "head.conv3"),
    fuse_is_reversed=True,
    fuse_from=0,
)  # fmt: skip


def is_original(state: State) -> bool:
    """Whether the names are the original ones rather than Hugging Face's."""
    return any(name.startswith("pretrained.") for name in state)


def convert_depth_anything(state: State, dropped: dict[str, str] | None = None) -> dict:
    """Depth Anything, version 1 or 2, Small, Base or Large -> {"encoder", "head"}.

    Args:
        state: PyTorch names to arrays, as `read_torch_checkpoint` gives them.
        dropped: receives the names of tensors that are not needed, and why.

    Raises:
        KeyError: a tensor is missing.
        ValueError: a tensor is not used or has another shape.
    """
    tensors = StrictState(state, "", KIND, dropped)
    names = _ORIGINAL if is_original(state) else _HUGGING_FACE
    encoder = _read_encoder(tensors.under(names.encoder, "a DINOv2 encoder with plain MLPs"), names)
    params = {"encoder": encoder, "head": _read_head(tensors, names, encoder["cls_token"].shape[0])}
    tensors.finish()
    return params


def _read_encoder(tensors: StrictState, names: _Names) -> dict:
    cls, positions, patches, mask = names.embeddings
    depth = count_blocks(tensors, names.blocks)
    tensors.shape(f"{names.blocks.block.format(0)}{names.blocks.norm1}.weight")
    dim = tensors.shape(positions)[-1]
    params = {
        "cls_token": tensors.take(cls, 1, 1, dim)[0, 0],
        "pos_embed": tensors.take(positions, 1, -1, dim)[0],
        "patch_embed": tensors.conv(patches, 3, dim),
        "norm": tensors.norm(names.norm, dim),
    }
    params |= {f"block_{index}": read_block(tensors, names.blocks, index, dim) for index in range(depth)}
    tensors.drop(mask, "used in the pretraining of DINOv2 only")
    return params


def _read_head(tensors: StrictState, names: _Names, dim: int) -> dict:
    params: dict = {}
    widths = [tensors.shape(f"{names.project.format(stage)}.weight")[0] for stage in range(STAGES)]
    fusion = tensors.shape(f"{names.reduce.format(names.fuse_from)}.weight")[0]
    for stage, width in enumerate(widths):
        params[f"project_{stage}"] = tensors.conv(names.project.format(stage), dim, width, 1)
        params[f"reduce_{stage}"] = tensors.conv(names.reduce.format(stage + names.fuse_from), width, fusion, 3, False)
        number = (STAGES - 1 - stage if names.fuse_is_reversed else stage) + names.fuse_from
        fuse = tensors.under(names.fuse.format(number))
        params[f"fuse_{stage}"] = {"out": fuse.conv(names.fuse_out, fusion, fusion, 1)}
        for unit in (1, 2):
            if unit == 1 and stage == STAGES - 1:
                fuse.drop(names.unit.format(unit), "not used: the fusion of the coarsest map has no second input")
                continue
            residual = fuse.under(names.unit.format(unit))
            params[f"fuse_{stage}"][f"unit{unit}"] = {
                f"conv{conv}": residual.conv(names.unit_conv.format(conv), fusion, fusion, 3) for conv in (1, 2)
            }
    for stage, size in ((0, 4), (1, 2)):  # transposed convolutions, IOHW
        name, width = names.resize.format(stage), widths[stage]
        kernel = tensors.take(f"{name}.weight", width, width, size, size).transpose(2, 3, 0, 1)
        params[f"resize_{stage}"] = {"kernel": kernel, "bias": tensors.take(f"{name}.bias", width)}
    params["resize_3"] = tensors.conv(names.resize.format(3), widths[3], widths[3], 3)
    params["output1"] = tensors.conv(names.output[0], fusion, -1, 3)
    hidden = len(params["output1"]["bias"])
    params["output2"] = tensors.conv(names.output[1], hidden, -1, 3)
    params["output3"] = tensors.conv(names.output[2], len(params["output2"]["bias"]), 1, 1)
    return params


def num_patches_side(params: dict) -> int:
    """Side of the square map of patches that the position embedding is for."""
    return int(np.sqrt(len(params["encoder"]["pos_embed"]) - 1))
