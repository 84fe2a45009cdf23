"""Writes hmr2_whole.npz with PyTorch: `python tests/data/make_hmr2.py`.

HMR2.0 from a crop to vertices, written out once more: the ViT and the head of vitpose_backbone.npz and hmr2_head.npz,
and linear blend skinning of the built-in body.
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import conv2d, gelu, layer_norm, linear, normalize, scaled_dot_product_attention

from hmr_jax.body import load_body_model

HERE = Path(__file__).parent
SIDE, EVERY = 64, 41


def state_of(name: str) -> dict[str, torch.Tensor]:
    arrays = np.load(HERE / f"{name}.npz")
    return {
        key.removeprefix("weights/"): torch.tensor(arrays[key]) for key in arrays.files if key.startswith("weights/")
    }


def crops() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int) -> torch.Tensor:
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def encode(state: dict[str, torch.Tensor], images: torch.Tensor, depth: int, heads: int) -> torch.Tensor:
    def dense(x, name):
        return linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(x, name):
        return layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    x = conv2d(images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], 16, 2).flatten(2).mT
    x = x + state["pos_embed"][:, 1:] + state["pos_embed"][:, :1]
    for i in range(depth):
        at = f"blocks.{i}"
        qkv = dense(norm(x, f"{at}.norm1"), f"{at}.attn.qkv").chunk(3, -1)
        x = x + dense(attention(*qkv, heads), f"{at}.attn.proj")
        x = x + dense(gelu(dense(norm(x, f"{at}.norm2"), f"{at}.mlp.fc1")), f"{at}.mlp.fc2")
    return norm(x, "last_norm")


def head(state: dict[str, torch.Tensor], context: torch.Tensor, depth: int, heads: int) -> tuple[torch.Tensor, ...]:
    def dense(x, name):
        return linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))

    def norm(x, name):
        return layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], 1e-5)

    x = dense(torch.zeros(len(context), 1, 1), "transformer.to_token_embedding") + state["transformer.pos_embedding"]
    for i in range(depth):
        at = f"transformer.transformer.layers.{i}"
        qkv = dense(norm(x, f"{at}.0.norm"), f"{at}.0.fn.to_qkv").chunk(3, -1)
        x = x + dense(attention(*qkv, heads), f"{at}.0.fn.to_out.0")
        query = dense(norm(x, f"{at}.1.norm"), f"{at}.1.fn.to_q")
        key, value = dense(context, f"{at}.1.fn.to_kv").chunk(2, -1)
        x = x + dense(attention(query, key, value, heads), f"{at}.1.fn.to_out.0")
        x = x + dense(gelu(dense(norm(x, f"{at}.2.norm"), f"{at}.2.fn.net.0")), f"{at}.2.fn.net.3")
    x = x[:, 0]
    pose = dense(x, "decpose") + state["init_body_pose"]
    return pose, dense(x, "decshape") + state["init_betas"], dense(x, "deccam") + state["init_cam"]


def rotations_of(pose: torch.Tensor) -> torch.Tensor:
    """HMR2.0's decoding: (2, 3) per joint, the rows are the first two columns."""
    a, b = pose.reshape(-1, 24, 2, 3).unbind(2)
    first = normalize(a, dim=-1)
    second = normalize(b - (first * b).sum(-1, keepdim=True) * first, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -1)


def skin(rotations: torch.Tensor, betas: torch.Tensor) -> torch.Tensor:
    body = load_body_model()
    template, shapes, poses, regressor, weights = (
        torch.tensor(np.asarray(array))
        for array in (body.v_template, body.shapedirs, body.posedirs, body.joint_regressor, body.skinning_weights)
    )
    shaped = template + torch.einsum("vcs,bs->bvc", shapes[..., :10], betas)
    joints = torch.einsum("jv,bvc->bjc", regressor, shaped)
    feature = (rotations[:, 1:] - torch.eye(3)).flatten(1)
    posed = shaped + torch.einsum("vcp,bp->bvc", poses, feature)
    world: list[torch.Tensor] = []
    for joint, parent in enumerate(body.parents):
        local = torch.eye(4).repeat(len(betas), 1, 1)
        local[:, :3, :3] = rotations[:, joint]
        local[:, :3, 3] = joints[:, joint] - (joints[:, parent] if joint else 0)
        world.append(world[parent] @ local if joint else local)
    transforms = torch.stack(world, 1)
    turns, places = transforms[..., :3, :3], transforms[..., :3, 3]
    shifts = places - torch.einsum("bjik,bjk->bji", turns, joints)
    blended = torch.einsum("vj,bjik->bvik", weights, turns)
    return torch.einsum("bvik,bvk->bvi", blended, posed) + torch.einsum("vj,bji->bvi", weights, shifts)


def main() -> None:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images = ((torch.tensor(crops()) / 255 - mean) / std).permute(0, 3, 1, 2)[..., SIDE // 8 : -SIDE // 8]
    context = encode(state_of("vitpose_backbone"), images, depth=3, heads=4)
    pose, betas, camera = head(state_of("hmr2_head"), context, depth=2, heads=4)
    vertices = skin(rotations_of(pose), betas)
    results = {"betas": betas, "camera": camera, "rotations": rotations_of(pose), "vertices": vertices[:, ::EVERY]}
    np.savez_compressed(HERE / "hmr2_whole.npz", **{name: value.numpy() for name, value in results.items()})


if __name__ == "__main__":
    with torch.inference_mode():
        main()
