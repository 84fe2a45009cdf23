"""Convert MediaPipe's networks of people to the parameters of `models.backbones.blazepose` and `blazepose_detector`.

These are pose_landmark_{lite,full,heavy}.tflite, and pose_solution_packed_assets.data, which is the detector's file.
"""

import hashlib
from collections.abc import Iterator

import numpy as np

from hmr_jax.models.backbones.blazepose import SIZES, BlazePoseSizes
from hmr_jax.models.backbones.blazepose_detector import ANCHORS, BACK, STAGES
from hmr_jax.weights.state import finite
from hmr_jax.weights.tflite_file import Graph

_STRUCTURES = {
    "a47ff9e6946c4afd47d432c6ddc4c6ea54ded6b73c844186a0adab23668a53df": "lite",
    "5546e70814d9d7a47f84652746d37123509483dde0e3238ed89ac8a4d6a93f7c": "full",
    "4f37b0779f077fb14ff32e1b9fc0cd265f787961ebfa38832454b38fe9d66ca8": "heavy",
    "eedadfcbc7c7981221879446dd9b25f8509b53ed03ef135fd44a7c4fb03aec5c": "detector",
}
"""`structure` of the files of the npm package @mediapipe/pose 0.5.1675469404."""


def structure(graph: Graph) -> str:
    """SHA-256 of what a graph computes apart from its weights.

    It covers operators, options and wiring, and the constants' shapes and types. Tensors are numbered by their first
    use, so that other numbers in a file do not matter.
    """
    numbers: dict[int, int] = {}

    def described(number: int) -> object:
        constant = graph.constants.get(number)
        if constant is None:
            return numbers.setdefault(number, len(numbers))
        integers = constant.tolist() if constant.dtype.kind == "i" else None  # sizes and padding
        return str(constant.dtype), constant.shape, integers

    lines = [
        (operator.kind, sorted(operator.options.items()), *map(described, (*operator.inputs, *operator.outputs)))
        for operator in graph.operators
    ]
    ends = [[described(number) for number in tensors] for tensors in (graph.inputs, graph.outputs)]
    return hashlib.sha256(repr((lines, ends)).encode()).hexdigest()


def convert_blazepose(graph: Graph) -> tuple[str, dict]:
    """The variant, or "detector", and the parameters of a graph.

    Every constant of its convolutions is used, in the file's order.

    Raises:
        ValueError: the graph is not of a known variant, or a weight is not finite.
    """
    variant = _STRUCTURES.get(structure(graph))
    if variant is None:
        raise ValueError(f"The TensorFlow Lite file is not of BlazePose ({', '.join([*SIZES, 'detector'])}).")
    params: dict = {}
    paths = _detector_paths() if variant == "detector" else _paths(SIZES[variant])
    convolutions = [operator for operator in graph.operators if operator.kind in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    for operator, path in zip(convolutions, paths, strict=True):
        kernel, bias = (finite(graph.constants[number], path) for number in operator.inputs[1:])
        place = params
        for name in path.split("/"):
            place = place.setdefault(name, {})
        # (out, h, w, in) -> (h, w, in, out); of a depth-wise one (1, h, w, C) -> (h, w, 1, C)
        kernel = np.transpose(kernel, (1, 2, 0, 3) if operator.kind == "DEPTHWISE_CONV_2D" else (1, 2, 3, 0))
        if path in ("landmarks", "world", "presence"):
            kernel = kernel.reshape(-1, kernel.shape[-1])
        place["kernel"], place["bias"] = kernel, bias
    return variant, params


def _paths(sizes: BlazePoseSizes) -> Iterator[str]:
    """Places of the parameters of a variant's convolutions, in the file's order."""
    yield from ("stem/conv", "stem_depthwise", "stem_project/conv")
    for stage, blocks in enumerate(sizes.stages):
        for i in range(len(blocks)):
            yield f"stage{stage}_{i}/expand/conv"
            if i == 0:  # the sides of the map before stand between the parts of the block that halves it
                stride = 2 << stage
                yield from _separable(f"lateral_{stride}")
                if stride in [8 << second for second in range(len(sizes.second))]:
                    yield from _separable(f"side_{stride}")
            yield f"stage{stage}_{i}/depthwise"
            yield f"stage{stage}_{i}/project/conv"
    yield from ("end_expand/conv", "end_depthwise")
    yield from _separable("lateral_32")
    if sizes.second:
        yield from _separable("second0_down")
    yield from _separable("mask")
    yield from _residuals("mask0", 2)
    yield from _residuals("mask1", 2)
    yield "mask_end/conv"
    for stage, (_, count) in enumerate(sizes.second):
        if stage:
            yield from _separable(f"second{stage}_down")
        yield from _residuals(f"second{stage}", count)
    yield "heat_maps/conv"
    yield from _separable("side_32")
    for stage, count in enumerate(sizes.landmarks):
        yield from _separable(f"landmarks{stage}_down")
        yield from _residuals(f"landmarks{stage}", count)
    yield from ("landmarks", "world", "presence")


def _detector_paths() -> Iterator[str]:
    """Places of the parameters of the detector's convolutions, in the file's order."""
    yield from ("stem/conv", "stem_depthwise", "stem_project/conv")
    for stage, blocks in enumerate(STAGES):
        for i in range(len(blocks)):
            yield f"stage{stage}_{i}/expand/conv"
            if i == 0 and 2 << stage in BACK:
                yield from _separable(f"lateral_{2 << stage}")
            yield f"stage{stage}_{i}/depthwise"
            yield f"stage{stage}_{i}/project/conv"
    yield from ("end_expand/conv", "end_depthwise")
    for stride in BACK:
        yield f"up_{stride}/conv"
        yield from _residuals(f"back_{stride}", 2)
    for stride in ANCHORS:
        yield from _separable(f"scores_{stride}")
        yield from _separable(f"points_{stride}")


def _separable(path: str) -> tuple[str, str]:
    return f"{path}/depthwise", f"{path}/pointwise/conv"


def _residuals(path: str, count: int) -> Iterator[str]:
    for i in range(count):
        yield from _separable(f"{path}_{i}")
