"""HRNet's classification checkpoints to the variables of `models.hrnet.HRNet`.

timm and the authors' own files (`hrnetv2_w64_imagenet_pretrained.pth` and its like, which METRO starts from) use the same
names; inside a checkpoint of METRO they stand behind "backbone.".
"""

from hmr_jax.weights.convolutional import Tree
from hmr_jax.weights.state import State, StrictState

MODULES = {2: 1, 3: 4, 4: 3}  # exchanges of a stage, as in models.hrnet
BLOCKS = 4


def convert_hrnet(state: State, prefix: str = "") -> dict:
    """HRNet of any width -> {"params", "batch_stats"}; the classifier is dropped.

    Args:
        state: PyTorch names to arrays.
        prefix: what stands before the names: "", or "backbone." for METRO.

    Raises:
        KeyError: if a tensor is missing, naming it.
        ValueError: if a tensor of the prefix is left over.
    """
    tensors = StrictState(state, prefix, "an HRNet for classification")
    tree = Tree(tensors)
    for i in (1, 2):
        tree.conv_norm(f"conv{i}", f"conv{i}", f"bn{i}")
    for i in range(4):
        tree.block(f"layer1_{i}", f"layer1.{i}")
    tree.conv_norm("transition1_0", "transition1.0.0", "transition1.0.1")
    for stage, modules in MODULES.items():
        new = f"transition{stage - 1}.{stage - 1}.0"
        tree.conv_norm(f"transition{stage - 1}_{stage - 1}", f"{new}.0", f"{new}.1")
        for module in range(modules):
            _exchange(tree, f"stage{stage}_{module}", f"stage{stage}.{module}", stage)
    for i in range(4):
        tree.block(f"incre_{i}", f"incre_modules.{i}.0")
    for i in range(3):
        tree.conv_norm(f"downsample_{i}", f"downsamp_modules.{i}.0", f"downsamp_modules.{i}.1")
    tree.conv_norm("final", "final_layer.0", "final_layer.1")
    for name in ("classifier.weight", "classifier.bias"):  # ImageNet's classes
        tensors.drop(name)
    tensors.finish()
    return tree.variables


def _exchange(tree: Tree, path: str, name: str, branches: int) -> None:
    for i in range(branches):
        for block in range(BLOCKS):
            tree.block(f"{path}/branch{i}_{block}", f"{name}.branches.{i}.{block}")
        for j in range(branches):
            at = f"{name}.fuse_layers.{i}.{j}"
            if j > i:
                tree.conv_norm(f"{path}/fuse{i}_{j}", f"{at}.0", f"{at}.1")
            for step in range(i - j):
                tree.conv_norm(f"{path}/fuse{i}_{j}_{step}", f"{at}.{step}.0", f"{at}.{step}.1")
