"""Convert ResNet checkpoints of torchvision or timm to the variables of `models.backbones.resnet.ResNet`."""

from hmr_jax.weights.convolutional import block, conv_norm, group
from hmr_jax.weights.state import State, StrictState


def convert_resnet(state: State, prefix: str = "", dropped: dict[str, str] | None = None) -> dict:
    """ResNet-50 or ResNet-101 -> {"params", "batch_stats"}; the classifier `fc` is dropped.

    Args:
        state: PyTorch names to arrays.
        prefix: of the names, e.g. "backbone.".
        dropped: receives the names of tensors that are not needed, and why.

    Raises:
        KeyError: a tensor is missing.
        ValueError: a tensor of the prefix is not used.
    """
    tensors = StrictState(state, prefix, "a ResNet with bottlenecks", dropped)
    parts = {"conv1": conv_norm(tensors, "conv1", "bn1")}
    for layer in range(1, 5):
        i = 0
        while i == 0 or tensors.has(f"layer{layer}.{i}.conv1.weight"):
            parts[f"layer{layer}_{i}"] = block(tensors, f"layer{layer}.{i}")
            i += 1
    for name in ("fc.weight", "fc.bias"):  # ImageNet's classes
        tensors.drop(name, "classifier of ImageNet")
    tensors.finish()
    return group(parts)
