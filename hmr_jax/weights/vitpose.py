"""Convert ViTPose checkpoints to the parameters of `models.backbones.vit.ViT`."""

from hmr_jax.weights.state import State, StrictState, stack_layers
from hmr_jax.weights.transformer import HUGGING_FACE, ORIGINAL, count_blocks, read_block

KIND = "a ViTPose or HMR2.0 backbone"


def convert_vitpose(
    state: State, prefix: str | None = None, expert: int = 0, dropped: dict[str, str] | None = None
) -> dict:
    """ViTPose's backbone -> encoder parameters.

    Args:
        state: PyTorch names to arrays, as `read_torch_checkpoint` returns them: of mmpose, of ViTPose+ with experts,
            of a backbone alone, or of Hugging Face.
        prefix: of the names, e.g. "backbone."; other tensors are ignored. None: the state is ViTPose, with or without
            its heads, which are dropped.
        expert: of ViTPose+; 0 is COCO.
        dropped: receives the names of tensors that are not needed, and why.

    Returns:
        The parameter tree of `ViT`, blocks stacked along their first axis.

    Raises:
        KeyError: a tensor is missing.
        ValueError: a tensor is not used or has another shape.
    """
    if prefix is not None:
        tensors = StrictState(state, prefix, KIND, dropped)
        params = read_vitpose(tensors, expert)
        tensors.finish()
        return params
    tensors = StrictState(state, "", KIND, dropped)
    has_prefix = any(name.startswith("backbone.") for name in state)
    params = read_vitpose(tensors.under("backbone.") if has_prefix else tensors, expert)
    if has_prefix:
        for head in ("keypoint_head.", "associate_keypoint_heads.", "head."):
            tensors.drop(head, "ViTPose's keypoint head")
    tensors.finish()
    return params


def read_vitpose(tensors: StrictState, expert: int = 0) -> dict:
    """Reads the backbone's tensors; see `convert_vitpose`."""
    if tensors.has("embeddings.position_embeddings"):
        names, embeddings, patch, norm = HUGGING_FACE, "embeddings.position_embeddings", _HF_PATCH, "layernorm"
    else:
        names, embeddings, patch, norm = ORIGINAL, "pos_embed", "patch_embed.proj", "last_norm"
    depth = count_blocks(tensors, names)
    if not tensors.has(embeddings):  # name a block in the message: an empty state has neither
        tensors.shape(f"{names.block.format(0)}{names.norm1}.weight")
    dim = tensors.shape(embeddings)[-1]
    params = {
        "patch_embed": tensors.conv(patch, 3, dim),
        "pos_embed": tensors.take(embeddings, 1, -1, dim)[0],
        "blocks": {"block": stack_layers(lambda index: read_block(tensors, names, index, dim, expert), depth)},
        "norm": tensors.norm(norm, dim),
    }
    tensors.drop("cls_token", "no class token is in ViTPose's sequence")
    return params


_HF_PATCH = "embeddings.patch_embeddings.projection"
