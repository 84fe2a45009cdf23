"""Convert blocks of vision transformers, with the names of the research code or of Hugging Face.

Shapes: D width.
"""

from dataclasses import dataclass

import numpy as np

from hmr_jax.weights.state import StrictState


@dataclass(frozen=True)
class BlockNames:
    """Names of the parts of a block in a state dict."""

    block: str
    """Prefix of the parts' names; {} is the index of the block."""
    norm1: str
    qkv: tuple[str, ...]
    """One name for all three, or one each."""
    proj: str
    norm2: str
    scales: tuple[str, str] | None = None
    """LayerScale, after attention and after the MLP."""


ORIGINAL = BlockNames("blocks.{}.", "norm1", ("attn.qkv",), "attn.proj", "norm2")
_SPLIT = tuple(f"attention.attention.{name}" for name in ("query", "key", "value"))
HUGGING_FACE = BlockNames(
    "encoder.layer.{}.", "layernorm_before", _SPLIT, "attention.output.dense", "layernorm_after"
)  # fmt: skip


def count_blocks(tensors: StrictState, names: BlockNames) -> int:
    """Number of blocks; at least 1, so that a state without blocks is refused with the name of the first."""
    depth = 1
    while tensors.has(f"{names.block.format(depth)}{names.norm1}.weight"):
        depth += 1
    return depth


def read_block(tensors: StrictState, names: BlockNames, index: int, dim: int, expert: int = 0) -> dict:
    """One block -> {"norm1", "qkv", "proj", "norm2", "fc1", "fc2"} and, where it has LayerScale, {"scale1", "scale2"}.

    Args:
        tensors: of the transformer.
        names: their names.
        index: of the block.
        dim: D.
        expert: the expert of ViTPose+, if there are experts, whose outputs are appended to those of fc2.
    """
    tensors = tensors.under(names.block.format(index))
    if len(names.qkv) == 1:
        qkv = tensors.linear(names.qkv[0], dim, 3 * dim)
    else:
        parts = [tensors.linear(name, dim, dim) for name in names.qkv]
        qkv = {key: np.concatenate([part[key] for part in parts], -1) for key in ("kernel", "bias")}
    fc1 = tensors.linear("mlp.fc1", dim)
    block: dict = {
        "norm1": tensors.norm(names.norm1, dim),
        "qkv": qkv,
        "proj": tensors.linear(names.proj, dim, dim),
        "norm2": tensors.norm(names.norm2, dim),
        "fc1": fc1,
        "fc2": _fc2(tensors, len(fc1["bias"]), dim, expert),
    }
    if names.scales:
        first, second = (tensors.take(name, dim) for name in names.scales)
        block |= {"scale1": first, "scale2": second}
    return block


def _fc2(tensors: StrictState, hidden: int, dim: int, expert: int) -> dict:
    if not tensors.has("mlp.experts.0.weight"):
        return tensors.linear("mlp.fc2", hidden, dim)
    if not tensors.has(f"mlp.experts.{expert}.weight"):
        raise ValueError(f"The checkpoint has no expert {expert}: choose one of ViTPose+'s data sets, counted from 0.")
    shared, own = tensors.linear("mlp.fc2", hidden), tensors.linear(f"mlp.experts.{expert}", hidden)
    fc2 = {key: np.concatenate([shared[key], own[key]], -1) for key in ("kernel", "bias")}
    if len(fc2["bias"]) != dim:
        raise ValueError(f"The outputs of mlp.fc2 and of expert {expert} are {len(fc2['bias'])} together, not {dim}.")
    tensors.drop("mlp.experts.", f"expert of other data than the one chosen ({expert})")
    return fc2
