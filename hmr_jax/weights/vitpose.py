"""ViTPose checkpoints to the parameters of `models.vit.ViT`. Letters: D width, L depth."""

import numpy as np

from hmr_jax.weights.state import State, StrictState


def convert_vitpose(state: State, prefix: str = "") -> dict:
    """ViTPose's backbone -> encoder parameters.

    Args:
        state: PyTorch names to arrays, as `read_torch_checkpoint` returns them.
        prefix: what stands before the names, e.g. "backbone.".

    Returns:
        The parameter tree of `ViT`, blocks stacked along their first axis.

    Raises:
        KeyError: if a tensor is missing, naming it.
        ValueError: if a tensor of the prefix is left over.
    """
    tensors = StrictState(state, prefix, "a ViTPose or HMR2.0 backbone")
    take, linear, norm = tensors.take, tensors.linear, tensors.norm

    blocks: list[dict] = []
    while not blocks or tensors.has(f"blocks.{len(blocks)}.norm1.weight"):
        at = f"blocks.{len(blocks)}."
        blocks.append(
            {
                "norm1": norm(at + "norm1"),
                "qkv": linear(at + "attn.qkv"),
                "proj": linear(at + "attn.proj"),
                "norm2": norm(at + "norm2"),
                "fc1": linear(at + "mlp.fc1"),
                "fc2": linear(at + "mlp.fc2"),
            }
        )
    params = {
        "patch_embed": {
            "kernel": take("patch_embed.proj.weight").transpose(2, 3, 1, 0),  # OIHW -> HWIO
            "bias": take("patch_embed.proj.bias"),
        },
        "pos_embed": take("pos_embed")[0],
        "blocks": {
            "block": {
                layer: {name: np.stack([block[layer][name] for block in blocks]) for name in blocks[0][layer]}
                for layer in blocks[0]
            }
        },
        "norm": norm("last_norm"),
    }
    tensors.drop("cls_token")  # not part of the sequence in ViTPose
    tensors.finish()
    return params
