"""HMR2.0's SMPL head to the parameters of the decoder with a single query and plain attention."""

import numpy as np

from hmr_jax.weights.state import State, StrictState
from hmr_jax.weights.vitpose import convert_vitpose


def convert_hmr2(state: State) -> dict:
    """A whole HMR2.0 checkpoint -> {"encoder", "decoder", "head"}; body buffers and the discriminator are dropped."""
    return {
        "encoder": convert_vitpose(state, "backbone."),
        **convert_hmr2_head(state, "smpl_head."),
    }


def convert_hmr2_head(state: State, prefix: str = "") -> dict:
    """HMR2.0's head -> {"decoder", "head"}.

    The constant zero token through `to_token_embedding`, plus the position embedding, is one learned query.

    Args:
        state: PyTorch names to arrays.
        prefix: what stands before the names, e.g. "smpl_head.".

    Raises:
        KeyError: if a tensor is missing, naming it.
        ValueError: if a tensor of the prefix is left over.
    """
    tensors = StrictState(state, prefix, "an HMR2.0 head")
    take, linear, norm = tensors.take, tensors.linear, tensors.norm

    def split(name: str, names: tuple[str, ...]) -> dict:
        parts = np.split(take(f"{name}.weight"), len(names))
        return {part: {"kernel": weight.T} for part, weight in zip(names, parts, strict=True)}

    take("transformer.to_token_embedding.weight")  # multiplied by the zero token
    queries = take("transformer.to_token_embedding.bias") + take("transformer.pos_embedding")[0]
    decoder: dict = {"queries": queries}
    while tensors.has(f"transformer.transformer.layers.{len(decoder) - 1}.0.norm.weight"):
        at = f"transformer.transformer.layers.{len(decoder) - 1}"
        decoder[f"layer_{len(decoder) - 1}"] = {
            "self_norm": norm(f"{at}.0.norm"),
            "self_attention": split(f"{at}.0.fn.to_qkv", ("query", "key", "value"))
            | {"out": linear(f"{at}.0.fn.to_out.0")},
            "cross_norm": norm(f"{at}.1.norm"),
            "cross_attention": {"query": linear(f"{at}.1.fn.to_q", bias=False)}
            | split(f"{at}.1.fn.to_kv", ("key", "value"))
            | {"out": linear(f"{at}.1.fn.to_out.0")},
            "mlp_norm": norm(f"{at}.2.norm"),
            "fc1": linear(f"{at}.2.fn.net.0"),
            "fc2": linear(f"{at}.2.fn.net.3"),
        }
    head = {
        "pose": linear("decpose"),
        "betas": linear("decshape"),
        "camera": linear("deccam"),
        "mean_pose": take("init_body_pose").reshape(24, 6),
        "mean_betas": take("init_betas")[0],
        "mean_camera": take("init_cam")[0],
    }
    tensors.finish()
    return {"decoder": decoder, "head": head}
