"""ViTPose checkpoints to the parameters of `models.vit.ViT`. Letters: D width, L depth."""

from collections.abc import Mapping

import numpy as np

State = Mapping[str, np.ndarray]


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
    left = {name for name in state if name.startswith(prefix)}

    def take(name: str) -> np.ndarray:
        if prefix + name not in state:
            raise KeyError(f"The checkpoint has no '{prefix + name}': is it a ViTPose or HMR2.0 backbone?")
        left.discard(prefix + name)
        return np.asarray(state[prefix + name], np.float32)

    def linear(name: str) -> dict:
        return {"kernel": take(f"{name}.weight").T, "bias": take(f"{name}.bias")}

    def norm(name: str) -> dict:
        return {"scale": take(f"{name}.weight"), "bias": take(f"{name}.bias")}

    blocks: list[dict] = []
    while f"{prefix}blocks.{len(blocks)}.norm1.weight" in state:
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
    if not blocks:
        raise KeyError(f"The checkpoint has no '{prefix}blocks.0.norm1.weight': is it a ViTPose or HMR2.0 backbone?")
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
    left.discard(prefix + "cls_token")  # not part of the sequence in ViTPose
    if left:
        raise ValueError(f"The checkpoint holds tensors that ViTPose's backbone has not: {', '.join(sorted(left))}.")
    return params
