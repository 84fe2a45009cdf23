"""Convert HMR2.0 to a ViT, a decoder with a single query and plain attention, and a head."""

import numpy as np

from hmr_jax.weights.state import State, StrictState
from hmr_jax.weights.vitpose import read_vitpose


def convert_hmr2(state: State, dropped: dict[str, str] | None = None) -> dict:
    """A complete HMR2.0 checkpoint -> {"encoder", "decoder", "head"}.

    Args:
        state: PyTorch names to arrays.
        dropped: receives the names of tensors that are not needed, and why.

    Raises:
        KeyError: a tensor is missing.
        ValueError: a tensor is not used or has another shape.
    """
    tensors = StrictState(state, "", "an HMR2.0 checkpoint", dropped)
    encoder = read_vitpose(tensors.under("backbone."))
    params = {"encoder": encoder, **_read_head(tensors.under("smpl_head."), encoder["pos_embed"].shape[-1])}
    tensors.drop("smpl.", "buffer of the body model, which comes from its own file")
    tensors.drop("discriminator.", "HMR2.0's pose discriminator, used in its training only")
    tensors.drop("initialized", "a flag of HMR2.0's training")
    tensors.finish()
    return params


def convert_hmr2_head(state: State, prefix: str = "") -> dict:
    """HMR2.0's head -> {"decoder", "head"}.

    `to_token_embedding` of the constant zero token plus the position embedding is one learned query. The mean
    parameters are those of the checkpoint, since the head predicts residuals to them.

    Args:
        state: PyTorch names to arrays.
        prefix: of the names, e.g. "smpl_head.".

    Raises:
        KeyError: a tensor is missing.
        ValueError: a tensor of the prefix is not used or has another shape.
    """
    tensors = StrictState(state, prefix, "an HMR2.0 head")
    params = _read_head(tensors)
    tensors.finish()
    return params


def _read_head(tensors: StrictState, context: int = -1) -> dict:
    """Reads the head's tensors; `context` is the encoder's width."""
    take = tensors.take
    dim = take("transformer.to_token_embedding.weight", -1, 1).shape[0]  # multiplied by the zero token
    position = take("transformer.pos_embedding", 1, 1, dim)[0]
    decoder: dict = {"queries": take("transformer.to_token_embedding.bias", dim) + position}
    layer = 0
    while not layer or tensors.has(f"transformer.transformer.layers.{layer}.0.norm.weight"):
        part = tensors.under(f"transformer.transformer.layers.{layer}.")
        decoder[f"layer_{layer}"] = _read_layer(part, dim, context)
        layer += 1
    head = {
        "pose": tensors.linear("decpose", dim, 144),
        "betas": tensors.linear("decshape", dim, 10),
        "camera": tensors.linear("deccam", dim, 3),
        "mean_pose": take("init_body_pose", 1, 144).reshape(24, 6),
        "mean_betas": take("init_betas", 1, 10)[0],
        "mean_camera": take("init_cam", 1, 3)[0],
    }
    return {"decoder": decoder, "head": head}


def _read_layer(tensors: StrictState, dim: int, context: int) -> dict:
    def split(name: str, inputs: int, names: tuple[str, ...]) -> dict:
        parts = np.split(tensors.take(f"{name}.weight", len(names) * inner, inputs), len(names))
        return {part: {"kernel": weight.T} for part, weight in zip(names, parts, strict=True)}

    inner = tensors.shape("1.fn.to_q.weight")[0]
    return {
        "self_norm": tensors.norm("0.norm", dim),
        "self_attention": split("0.fn.to_qkv", dim, ("query", "key", "value"))
        | {"out": tensors.linear("0.fn.to_out.0", inner, dim)},
        "cross_norm": tensors.norm("1.norm", dim),
        "cross_attention": {"query": tensors.linear("1.fn.to_q", dim, inner, bias=False)}
        | split("1.fn.to_kv", context, ("key", "value"))
        | {"out": tensors.linear("1.fn.to_out.0", inner, dim)},
        "mlp_norm": tensors.norm("2.norm", dim),
        "fc1": tensors.linear("2.fn.net.0", dim),
        "fc2": tensors.linear("2.fn.net.3", -1, dim),
    }
