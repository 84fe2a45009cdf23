"""Convert HRNet's classification checkpoints to the variables of `models.backbones.hrnet.HRNet`.

timm and the authors' own files (`hrnetv2_w64_imagenet_pretrained.pth` and its like, which METRO starts from) use the
same names; in a checkpoint of METRO they have the prefix "backbone.".
"""

from hmr_jax.models.backbones.hrnet import BLOCKS, MODULES
from hmr_jax.weights.convolutional import block, conv_norm, group, stack
from hmr_jax.weights.state import State, StrictState


def convert_hrnet(state: State, prefix: str = "", dropped: dict[str, str] | None = None) -> dict:
    """HRNet of any width -> {"params", "batch_stats"}; the classifier is dropped.

    Args:
        state: PyTorch names to arrays.
        prefix: of the names: "", or "backbone." for METRO.
        dropped: receives the names of tensors that are not needed, and why.

    Raises:
        KeyError: a tensor is missing.
        ValueError: a tensor of the prefix is not used.
    """
    tensors = StrictState(state, prefix, "an HRNet for classification", dropped)
    parts = {f"conv{i}": conv_norm(tensors, f"conv{i}", f"bn{i}") for i in (1, 2)}
    parts |= {f"layer1_{i}": block(tensors, f"layer1.{i}") for i in range(4)}
    parts["transition1_0"] = conv_norm(tensors, "transition1.0.0", "transition1.0.1")
    for stage, modules in MODULES.items():
        new = f"transition{stage - 1}.{stage - 1}.0"
        parts[f"transition{stage - 1}_{stage - 1}"] = conv_norm(tensors, f"{new}.0", f"{new}.1")
        parts[f"stage{stage}"] = stack([_exchange(tensors, f"stage{stage}.{i}", stage) for i in range(modules)])
    parts |= {f"incre_{i}": block(tensors, f"incre_modules.{i}.0") for i in range(4)}
    for i in range(3):
        parts[f"downsample_{i}"] = conv_norm(tensors, f"downsamp_modules.{i}.0", f"downsamp_modules.{i}.1")
    parts["final"] = conv_norm(tensors, "final_layer.0", "final_layer.1")
    for name in ("classifier.weight", "classifier.bias"):  # ImageNet's classes
        tensors.drop(name, "classifier of ImageNet")
    tensors.finish()
    return group(parts)


def _exchange(tensors: StrictState, name: str, branches: int) -> dict:
    parts = {}
    for i in range(branches):
        blocks = [block(tensors, f"{name}.branches.{i}.{n}") for n in range(BLOCKS)]
        parts[f"branch{i}"] = stack([group({"block": one}) for one in blocks])
        for j in range(branches):
            path = f"{name}.fuse_layers.{i}.{j}"
            if j > i:
                parts[f"fuse{i}_{j}"] = conv_norm(tensors, f"{path}.0", f"{path}.1")
            for step in range(i - j):
                parts[f"fuse{i}_{j}_{step}"] = conv_norm(tensors, f"{path}.{step}.0", f"{path}.{step}.1")
    return group(parts)
