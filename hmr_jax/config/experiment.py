"""The whole experiment as frozen, documented dataclasses; no computation.

A file in configs/ returns one `Config` from `get_config()`. Every field is read somewhere; `[default]` marks what the
papers do not state and is this project's own decision.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hmr_jax.config.model import ModelConfig


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses. Each loss is a sum over joints and coordinates and a mean over the batch."""

    keypoints_2d: float = 0.01 * 48
    """L1 on crop coordinates. HMR2.0 sums over a batch of 48, so its weights are multiplied by 48 here."""
    keypoints_3d: float = 0.05 * 48
    """L1 in metres, pelvis-aligned."""
    global_orient: float = 0.001 * 48
    """Squared error of the root's rotation matrix."""
    body_pose: float = 0.001 * 48
    """Squared error of the body's rotation matrices."""
    betas: float = 0.0005 * 48
    """Squared error of the shape."""
    vertices: float = 0.0
    """L1 in metres, pelvis-aligned, a mean over vertices and coordinates (and over the levels of a coarse mesh)."""
    silhouette: float = 0.0
    """Cross-entropy plus Dice loss of the person's mask."""
    rle: float = 0.0
    """Residual log-likelihood of keypoints, or of D2A-HMR's joint and vertex tokens: a mean over points."""
    rle_early: float = 0.1
    """Factor on `rle` in the first steps, when the density of large early errors would slow learning. [default]"""
    rle_early_steps: int = 0
    """Number of these first steps. [default]"""
    rle_compat: bool = False
    """The terms of the released code of residual log-likelihood estimation instead of the paper's equation."""
    heatmaps: float = 1.0
    """Dense pretraining: keypoint heatmaps."""
    parts: float = 1.0
    """Dense pretraining: body-part segmentation, cross-entropy."""
    depth: float = 1.0
    """Dense pretraining: pelvis-relative depth, L1 in metres on the person."""
    adversarial: float = 0.0
    """HMR2.0's adversarial prior: how far the predicted pose and shape are from being taken for natural ones by a
    discriminator that is trained beside; `data.motion` says what is natural."""


@dataclass(frozen=True)
class OptimConfig:
    """The optimiser and its learning rate."""

    name: Literal["adamw", "muon"] = "adamw"
    """"adamw"; or "muon" (Jordan et al. 2024) on the matrices of transformers, which learns from fewer samples, and
    AdamW on the rest. Both take steps of the same size."""
    learning_rate: float = 1e-4
    """Peak learning rate."""
    warmup_steps: int = 2000
    """Linear warm-up."""
    final_fraction: float = 0.0
    """Learning rate at the end, as a fraction of the peak."""
    weight_decay: float = 1e-4
    """Decoupled weight decay, on matrices only."""
    clip_norm: float = 1.0
    """Largest global gradient norm; 0: gradients are not clipped."""
    accumulate: int = 1
    """Number of micro-batches that make one optimiser step."""
    ema: float = 0.0
    """Decay of the exponential moving average of the parameters that evaluation uses; 0: off."""
    frozen: tuple[str, ...] = ("encoder",)
    """Top-level parameter groups that are not trained: no gradient, no optimiser memory."""
    encoder_scale: float = 1.0
    """Learning-rate factor of the encoder when it is trained."""
    random_frozen: bool = False
    """Whether frozen groups may keep random parameters, which is of use in tests only; else `init_from` must name
    where they come from."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Of the learning rate after the warm-up: down to `final_fraction`, or constant."""
    decay_all: bool = False
    """Weight decay on all parameters, biases and scales of normalisations too, instead of on matrices only."""


@dataclass(frozen=True)
class AugmentConfig:
    """Augmentation of HMR2.0 (n is a standard normal, u uniform in [0, 1))."""

    scale: float = 0.3
    """Box scale 1 + scale * clip(n, -1, 1)."""
    rotation: float = 30.0
    """Degrees, times clip(n, -2, 2)."""
    rotation_probability: float = 0.6
    """How often a sample is rotated."""
    shift: float = 0.02
    """Box shift per axis in units of its side, times clip(n, -1, 1)."""
    flip_probability: float = 0.5
    """How often a sample is mirrored."""
    color: float = 0.2
    """Per-channel gain in 1 +- color."""
    extreme_crop_probability: float = 0.1
    """How often the box is shrunk to a part of the body."""
    upright_probability: float = 0.0
    """How often the box is first turned along the person's trunk, as `Predictor` turns crops. [default]"""


@dataclass(frozen=True)
class DepthCorruptionConfig:
    """Corruptions that make exact depth look like a network's estimate, drawn per example by its number. [default]

    They apply to the depth of synthetic people and of records with metric depth. Inverse depth in a record is a
    network's and stays unchanged.
    """

    background: float = 0.8
    """How often a floor and a wall are added where depth is unknown; maps of synthetic people have none."""
    scale: float = 0.1
    """Contrast of the normalised map: 1 + scale * n, with n a standard normal cut at 2."""
    shift: float = 0.05
    """Offset of the normalised map, whose range is 1: shift * n."""
    blur: float = 0.01
    """Largest blur, in units of the crop's side; uniform from 0."""
    missing: float = 0.2
    """How often an elliptic region is missing."""
    noise: float = 0.05
    """Smooth noise on the normalised map: its standard deviation on a grid of 8 x 8."""
    absent: float = 0.1
    """How often the whole map is missing; training only."""


@dataclass(frozen=True)
class DatasetConfig:
    """One data set of a mixture."""

    name: str = "synthetic_people"
    """TFDS name, as built by `python -m data_pipelines.build`."""
    weight: float = 1.0
    """Share of the mixture."""


@dataclass(frozen=True)
class DataConfig:
    """Where examples come from and what happens to them."""

    source: Literal["records", "synthetic"] = "records"
    """"records": TFDS data sets on disk (needs TensorFlow); "synthetic": people generated on the fly (NumPy)."""
    directory: str = "data"
    """Where the TFDS data sets are."""
    datasets: tuple[DatasetConfig, ...] = (DatasetConfig(),)
    """The training mixture. Evaluation uses those of them that have the split, unless `evaluation` is set."""
    three_dpw: float = 0.0
    """Share of 3DPW's train split in the mixture, in addition to `datasets`; 0: 3DPW is unseen in training."""
    evaluation: tuple[DatasetConfig, ...] = ()
    """Data sets to evaluate on instead of `datasets`; their weights are ignored."""
    crop_size: int = 256
    """Side of the square crop."""
    warp: Literal["host", "device"] = "host"
    """Where crops are cut from records. "device" saves CPU time where there are few cores per accelerator, and sends
    whole stored images to it. Synthetic people made on the fly are always drawn as crops."""
    stored_size: int = 512
    """With warp = "device": side to which stored images are padded, px; at least that of the largest one."""
    dense: tuple[Literal["mask", "depth", "parts"], ...] = ()
    """Dense targets that are added to the batch."""
    dense_size: int = 64
    """Side of the dense targets."""
    pseudo_depth: bool = False
    """Whether estimated depth of the crop is added to the batch, for models that take it."""
    depth_corruption: DepthCorruptionConfig = DepthCorruptionConfig()
    """How exact depth becomes pseudo-depth."""
    augment: AugmentConfig = AugmentConfig()
    """Augmentation of the training split."""
    uses: int = 1
    """Data echoing: how often each person made on the fly is trained on, mirrored every second time; more than 1 where
    a device trains faster than the processors draw."""
    workers: int = 0
    """Threads that make batches; 0: one per core."""
    processes: int = 0
    """Processes that draw people on the fly for training, for machines with many cores; 0: the threads draw them."""
    motion: str = ""
    """Folder of AMASS's .npz files (SMPL+H or SMPL-X), whose poses are natural for `loss.adversarial`; empty: poses of
    the generator of synthetic people."""


@dataclass(frozen=True)
class FeatureCacheConfig:
    """The features of a frozen encoder, computed once, see `training.feature_cache`."""

    examples: int = 0
    """How many augmented examples are kept, the first of the training stream; several times the size of a data set
    gives several views of each person. 0: no cache, the encoder runs in each step."""
    directory: str = "feature_cache"
    """Where caches are; runs with the same encoder and data share one."""
    limit_gib: float = 50.0
    """Largest size of one cache, GiB."""


@dataclass(frozen=True)
class MeshConfig:
    """How devices are laid out."""

    fsdp: int = 1
    """Devices over which parameters are sharded; the rest replicate over "data"."""
    min_shard_size: int = 2**18
    """Parameters with fewer elements are replicated."""


@dataclass(frozen=True)
class CheckpointConfig:
    """When checkpoints are written and which are kept."""

    every: int = 1000
    """Steps between saves."""
    keep: int = 2
    """Number of latest checkpoints kept, in addition to the best by `metric`."""
    metric: str = "mpjpe"
    """Validation metric that selects the best checkpoint; lower is better."""


@dataclass(frozen=True)
class Config:
    """One experiment."""

    name: str = "deforhmr"
    """Name of the run's folder under `output`."""
    output: str = "runs"
    """Folder of all runs."""
    seed: int = 0
    """Seed of initialisation, data order and augmentation."""
    steps: int = 100_000
    """Optimiser steps."""
    batch_size: int = 256
    """Examples per optimiser step over all devices and hosts."""
    log_every: int = 50
    """Steps between log lines."""
    eval_every: int = 1000
    """Steps between evaluations on the validation split; 0: never."""
    eval_examples: int = 0
    """Validation examples used during training; 0: all."""
    init_from: str = ""
    """Parameters to start from: a checkpoint folder; "encoder" for the shipped encoder that `model.encoder.name` names;
    "model" for the shipped model."""
    init_groups: tuple[str, ...] = ()
    """Parameter groups to take from `init_from`, e.g. only HMR2.0's "encoder"; empty: all that the model also has."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """Network and body."""
    loss: LossConfig = LossConfig()
    """Loss weights."""
    optim: OptimConfig = OptimConfig()
    """Optimiser."""
    data: DataConfig = DataConfig()
    """Data."""
    mesh: MeshConfig = field(default_factory=MeshConfig)
    """Devices."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """Checkpoints."""
    cache: FeatureCacheConfig = FeatureCacheConfig()
    """Features that are kept."""
    eval_protocol: str = "synthetic"
    """Protocol of the evaluations during training, see `hmr protocols`."""
    eval_bodies: str = ""
    """Folder of the bodies and regressors that `eval_protocol` needs; empty: HMR_JAX_BODIES."""
    profile: tuple[int, ...] = ()
    """First and last step of a trace with jax's profiler, written to the run's folder; empty: none."""


def training_mixture(data: DataConfig) -> tuple[DatasetConfig, ...]:
    """The data sets of training with their weights: `datasets`, and 3DPW's train split with its share.

    Raises:
        ValueError: if 3DPW's share is not in [0, 1), or `datasets` names 3DPW already.
    """
    if not data.three_dpw:
        return data.datasets
    if not 0 < data.three_dpw < 1:
        raise ValueError(f"data.three_dpw is a share of the mixture, 0 <= share < 1, not {data.three_dpw}.")
    if any(dataset.name == "three_dpw" for dataset in data.datasets):
        raise ValueError("three_dpw is among data.datasets already: set data.three_dpw to 0.")
    total = sum(dataset.weight for dataset in data.datasets)
    return (*data.datasets, DatasetConfig("three_dpw", total * data.three_dpw / (1 - data.three_dpw)))


def to_dict(config: Any) -> dict:
    """A configuration as plain JSON values."""
    return dataclasses.asdict(config)


def from_dict(values: Mapping[str, Any], kind: type = Config) -> Any:
    """The inverse of `to_dict`; unknown keys raise ValueError with the nearest known name."""
    hints = get_type_hints(kind)
    for name in values:
        if name not in hints:
            nearest = difflib.get_close_matches(name, hints, 1)
            hint = f"; did you mean '{nearest[0]}'?" if nearest else f"; it has {', '.join(hints)}."
            raise ValueError(f"{kind.__name__} has no field '{name}'{hint}")
    return kind(**{name: _from_json(value, hints[name]) for name, value in values.items()})


def _from_json(value: Any, hint: Any) -> Any:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_dict(value, hint)
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        kinds = (kinds[0],) * len(value) if kinds[-1] is Ellipsis else kinds
        return tuple(_from_json(item, item_kind) for item, item_kind in zip(value, kinds, strict=True))
    return value
