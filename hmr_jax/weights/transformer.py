"""Blocks of vision transformers, in the names of the research code and of Hugging Face. Shapes: D width, M hidden."""

from dataclasses import dataclass

import numpy as np

from hmr_jax.weights.state import StrictState


@dataclass(frozen=True)
class BlockNames:
    """What the parts of a block are called in a state dict."""

    block: str
    """Before the parts' names; {} is the number."""
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
    """How many blocks there are; at least 1, so that a state without blocks is refused by the name of its first."""
    depth = 1
    while tensors.has(f"{names.block.format(depth)}{names.norm1}.weight"):
        depth += 1
    return depth


def read_block(tensors: StrictState, names: BlockNames, index: int, dim: int, expert: int = 0) -> dict:
    """One block -> {"norm1", "qkv", "proj", "norm2", "fc1", "fc2"} and, where it has LayerScale, {"scale1", "scale2"}.

    Args:
        tensors: the transformer's.
        names: its dialect.
        index: which block.
        dim: D.
        expert: which of ViTPose+'s experts, if it has them, completes fc2's output.
    """
    at = tensors.under(names.block.format(index))
    if len(names.qkv) == 1:
        qkv = at.linear(names.qkv[0], dim, 3 * dim)
    else:
        parts = [at.linear(name, dim, dim) for name in names.qkv]
        qkv = {key: np.concatenate([part[key] for part in parts], -1) for key in ("kernel", "bias")}
    fc1 = at.linear("mlp.fc1", dim)
    block: dict = {
        "norm1": at.norm(names.norm1, dim),
        "qkv": qkv,
        "proj": at.linear(names.proj, dim, dim),
        "norm2": at.norm(names.norm2, dim),
        "fc1": fc1,
        "fc2": _fc2(at, len(fc1["bias"]), dim, expert),
    }
    if names.scales:
        first, second = (at.take(name, dim) for name in names.scales)
        block |= {"scale1": first, "scale2": second}
    return block


def _fc2(at: StrictState, hidden: int, dim: int, expert: int) -> dict:
    if not at.has("mlp.experts.0.weight"):
        return at.linear("mlp.fc2", hidden, dim)
    if not at.has(f"mlp.experts.{expert}.weight"):
        raise ValueError(f"The checkpoint has no expert {expert}: choose one from 0 up, as ViTPose+ lists its data.")
    shared, own = at.linear("mlp.fc2", hidden), at.linear(f"mlp.experts.{expert}", hidden)
    fc2 = {key: np.concatenate([shared[key], own[key]], -1) for key in ("kernel", "bias")}
    if len(fc2["bias"]) != dim:
        raise ValueError(f"The outputs of mlp.fc2 and of expert {expert} are {len(fc2['bias'])} together, not {dim}.")
    at.drop("mlp.experts.", f"expert of other data than the one chosen ({expert})")
    return fc2
