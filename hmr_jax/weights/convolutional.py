"""Convert convolutions with batch normalisation, for ResNet and HRNet.

A module's variables are {"params": tree, "batch_stats": tree}; the functions here build and combine such pairs.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from hmr_jax.weights.state import StrictState


def conv_norm(tensors: StrictState, conv: str, norm: str) -> dict:
    """The variables of a `models.backbones.residual.ConvNorm`, from the names of its two layers."""
    params = {"conv": tensors.conv(conv, bias=tensors.has(f"{conv}.bias")), "norm": tensors.norm(norm)}
    return {"params": params, "batch_stats": {"norm": tensors.running(norm)}}


def block(tensors: StrictState, name: str) -> dict:
    """The variables of a residual block, with all convolutions that the checkpoint has."""
    parts, count = {}, 1
    while count == 1 or tensors.has(f"{name}.conv{count}.weight"):
        parts[f"conv{count}"] = conv_norm(tensors, f"{name}.conv{count}", f"{name}.bn{count}")
        count += 1
    if tensors.has(f"{name}.downsample.0.weight"):
        parts["downsample"] = conv_norm(tensors, f"{name}.downsample.0", f"{name}.downsample.1")
    return group(parts)


def group(parts: Mapping[str, dict]) -> dict:
    """The variables of a module, from those of its named parts."""
    return {kind: {name: part[kind] for name, part in parts.items()} for kind in ("params", "batch_stats")}


def stack(repeated: Sequence[dict]) -> dict:
    """The variables of a scanned module, from those of its repetitions."""
    first = repeated[0]
    if isinstance(first, dict):
        return {name: stack([variables[name] for variables in repeated]) for name in first}
    return np.stack(repeated)
