"""The part of an experiment's configuration that describes the network; `experiment.py` has the rest.

`[default]` marks what the papers do not state and is this project's own decision.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class EncoderConfig:
    """ViTPose's vision transformer (papers: HMR2.0 and DeforHMR use the huge size), or a convolutional network."""

    name: Literal[
        "vit", "resnet50", "resnet101", "hrnet_w40", "hrnet_w64", "conv",
        "blazepose_lite", "blazepose_full", "blazepose_heavy",
    ] = "vit"  # fmt: skip
    """Architecture. D2A-HMR's backbones are HRNets and ResNets; "conv": five small convolutions, for depth maps;
    BlazePose: networks of body landmarks that have seen real people, for 256x256 crops."""
    image_size: tuple[int, int] = (256, 192)
    """Height and width of the network's input: the centre columns of the square crop, in pixels."""
    patch_size: int = 16
    """ViT: side of a patch, px."""
    dim: int = 1280
    """ViT, conv: width of a token."""
    depth: int = 32
    """ViT: number of blocks."""
    num_heads: int = 16
    """ViT: attention heads."""
    mlp_ratio: int = 4
    """ViT: hidden width of the MLP in units of dim."""
    drop_path: float = 0.0
    """ViT: largest stochastic depth rate, linear over depth; only in training, and not where the encoder is frozen."""
    remat: bool = False
    """ViT: recompute block activations in the backward pass to save memory."""
    maps: tuple[int, ...] = (4, 16, 32)
    """BlazePose: strides of the maps that are joined, of 4, 8, 16 and 32."""
    map_stride: int = 16
    """BlazePose: stride of the joined map: mean and maximum of finer maps over its cells, coarser ones repeated."""


@dataclass(frozen=True)
class DecoderConfig:
    """Transformer decoder from SMPL query tokens and a feature map to parameters."""

    queries: Literal["multi", "single"] = "multi"
    """"multi": 24 pose + shape + camera tokens (DeforHMR); "single": one token for everything (HMR2.0)."""
    attention: Literal["deformable", "plain"] = "deformable"
    """Cross-attention to sampled points, or to the feature map as it is."""
    dim: int = 1024
    """Token width."""
    depth: int = 6
    """Layers of self-attention, cross-attention, MLP."""
    num_heads: int = 8
    """Attention heads."""
    head_dim: int = 64
    """Width of a head."""
    mlp_dim: int = 1024
    """Hidden width of the MLP."""
    dropout: float = 0.0
    """Dropout rate, training only."""
    offset_groups: int = 8
    """Groups of channels that share sampling points. [default]"""
    offset_kernel: int = 5
    """Depth-wise kernel of the offset network. [default]"""
    offset_stride: int = 1
    """Stride of the sampling grid over the feature map. [default]"""
    offset_range: float = 2.0
    """Bound of the offsets: tanh times this many half cells; negative: unbounded and clipped to the map. [default]"""
    offset_grid: Literal["cells", "dat"] = "cells"
    """Points before any offset: on the cells' centres, or DAT's, which lie half a cell further. [default]"""
    share_offsets: bool = True
    """One offset network for all layers, as all see the same map, instead of one per layer: no larger errors
    (docs/results.md) in two thirds of the time. [default]"""
    key_position_code: bool = True
    """Add a sine code of the sampled position to the keys. [default]"""
    position_bias: bool = False
    """Learned attention bias per token, head and position, the counterpart of DAT's relative bias. [default]"""
    sampling: Literal["matmul", "gather"] = "matmul"
    """Back end of bilinear sampling: equal results; matmul has the faster backward pass."""
    feature_dim: int = 0
    """Width to which the features are projected and normalised before the first layer; 0: taken as they are. For
    encoders whose joined maps have channels of many scales. [default]"""
    landmarks: bool = False
    """Attend to the encoder's own landmarks too, where it finds any. [default]"""
    feature_noise: float = 0.0
    """Standard deviation of noise on the projected features, training only. [default]"""
    feature_drop: float = 0.0
    """Share of examples whose map is hidden, training only: the decoder learns to rely on the landmarks, which real
    images change less than the map. [default]"""


@dataclass(frozen=True)
class D2AConfig:
    """Everything of D2A-HMR but its image encoder: depth stream, fusion, heads."""

    depth_stream: Literal["own", "shared"] = "own"
    """Whether depth maps go through an encoder of their own or through the image encoder. [default]"""
    depth_encoder: EncoderConfig = EncoderConfig()
    """With "own": the encoder of depth maps. If built like the image encoder, it starts from the same parameters."""
    dim: int = 512
    """Token width. [default]"""
    depth: int = 4
    """Fusion blocks. [default]"""
    num_heads: int = 8
    """Attention heads of a block. [default]"""
    mlp_dim: int = 2048
    """Hidden width of the MLP. [default]"""
    dropout: float = 0.1
    """Dropout rate, training only. [default]"""
    gate: Literal["softmax", "sigmoid"] = "softmax"
    """Shares of all three inputs that sum to 1, or the image plus a gated part of the attended depth. [default]"""
    mask_ratio: float = 0.3
    """Largest share of tokens that masked modelling replaces, drawn uniformly per sample; 0: off. [default]"""
    mask_at: Literal["output", "input"] = "output"
    """Mask the encoder's output tokens, as the figure shows, or the image tokens that enter it. [default]"""
    head: Literal["vertices", "smpl"] = "vertices"
    """Non-parametric: 14 joints and 431 coarse vertices; or the body's pose and shape parameters. [default]"""
    head_dim: int = 256
    """Width of the non-parametric head's layers. [default]"""
    head_depth: int = 2
    """Transformer layers of the non-parametric head. [default]"""
    head_heads: int = 4
    """Their attention heads. [default]"""
    silhouette: tuple[int, ...] = (256, 128, 64, 32)
    """Channels of the silhouette decoder's stages, each of which doubles the side of the map; (): none. [default]"""


@dataclass(frozen=True)
class ModelConfig:
    """What is built by `hmr_jax.models.build_model`."""

    name: Literal["deforhmr", "dense", "d2a_hmr"] = "deforhmr"
    """"deforhmr": encoder, decoder, body; "d2a_hmr": image and depth encoders, fusion, body; "dense": encoder with
    dense heads, for pretraining the encoder, or alone."""
    encoder: EncoderConfig = EncoderConfig()
    """Image encoder."""
    decoder: DecoderConfig = DecoderConfig()
    """Token decoder of "deforhmr"."""
    d2a: D2AConfig = D2AConfig()
    """Fusion and heads of "d2a_hmr"."""
    uncertainty: bool = False
    """Predict a scale of error per point, and learn the errors' density (a normalising flow); for `loss.rle`."""
    body: str = "default"
    """"default", an SMPL .pkl or .npz file, or a folder that holds SMPL_NEUTRAL."""
    focal_length: float = 5000.0
    """Focal length in pixels of the virtual camera of a 256-pixel crop (HMR2.0)."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Computation type of encoder and decoder; "auto": bfloat16 on accelerators. Geometry and losses are float32."""
    attention: Literal["xla", "cudnn"] = "xla"
    """Back end of dot-product attention in the encoder."""
    dense_targets: bool = False
    """In training, "deforhmr" also predicts keypoint heatmaps, body parts and depth from the encoder's features: dense
    targets teach an encoder from fewer samples. Needs data.dense."""
    body_content: str = ""
    """Filled in by training: a hash of the body, by which any file of the same body is accepted in place of `body`."""
