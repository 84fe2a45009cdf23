"""Convert MediaPipe's pose_landmark_{lite,full,heavy}.tflite to the parameters of `models.backbones.blazepose`."""

from collections.abc import Callable, Iterator

import numpy as np

from hmr_jax.models.backbones.blazepose import SIZES, BlazePoseSizes
from hmr_jax.weights.tflite_file import Graph, Operator

_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D")
_Shape = tuple[str, tuple[int, ...], int, str | None]  # kind, kernel, stride, activation
_Block = tuple[str, _Shape]  # place of the parameters, and what the file has there


def identify_blazepose(graph: Graph) -> str | None:
    """The variant of BlazePose whose blocks a graph has, or None."""
    blocks = [_shape(graph, operator) for operator in graph.operators if operator.kind in _WEIGHTED]
    for variant, sizes in SIZES.items():
        if blocks == [shape for _, shape in _blocks(sizes)]:
            return variant
    return None


def convert_blazepose(graph: Graph) -> tuple[str, dict]:
    """The variant and the parameters of a graph: every constant of its convolutions is used, in the file's order.

    Raises:
        ValueError: the graph is not of a known variant.
    """
    variant = identify_blazepose(graph)
    if variant is None:
        raise ValueError(f"The TensorFlow Lite file is not of BlazePose's landmarks ({', '.join(SIZES)}).")
    params: dict = {}
    operators = [operator for operator in graph.operators if operator.kind in _WEIGHTED]
    for operator, (path, _) in zip(operators, _blocks(SIZES[variant]), strict=True):
        kernel, bias = (graph.constants[number] for number in operator.inputs[1:])
        place = params
        for name in path.split("/"):
            place = place.setdefault(name, {})
        # (out, h, w, in) -> (h, w, in, out); of a depth-wise one (1, h, w, C) -> (h, w, 1, C)
        kernel = np.transpose(kernel, (1, 2, 0, 3) if operator.kind == "DEPTHWISE_CONV_2D" else (1, 2, 3, 0))
        if path in ("landmarks", "world", "presence"):
            kernel = kernel.reshape(-1, kernel.shape[-1])
        place["kernel"], place["bias"] = kernel, bias
    return variant, params


def _shape(graph: Graph, operator: Operator) -> _Shape:
    kernel = graph.constants[operator.inputs[1]].shape if operator.inputs[1] in graph.constants else ()
    return operator.kind, kernel, operator.options["stride"][0], operator.options["activation"]


def _blocks(sizes: BlazePoseSizes) -> Iterator[_Block]:
    """The convolutions of a variant in the file's order, with the places of their parameters."""

    def conv(path: str, source: int, features: int, relu6: bool = False, kernel: int = 1, stride: int = 1) -> _Block:
        shape = (features, kernel, kernel, source)
        return f"{path}/conv", ("CONV_2D", shape, stride, "relu6" if relu6 else None)

    def depthwise(path: str, source: int, kernel: int = 3, stride: int = 1) -> _Block:
        return path, ("DEPTHWISE_CONV_2D", (1, kernel, kernel, source), stride, "relu6")

    def separable(path: str, source: int, features: int, relu6: bool = True, stride: int = 1) -> Iterator[_Block]:
        yield depthwise(f"{path}/depthwise", source, stride=stride)
        yield conv(f"{path}/pointwise", source, features, relu6)

    def residuals(path: str, features: int, count: int) -> Iterator[_Block]:
        for i in range(count):
            yield from separable(f"{path}_{i}", features, features, relu6=False)

    yield conv("stem", 3, 24, True, 3, 2)
    yield depthwise("stem_depthwise", 24)
    yield conv("stem_project", 24, sizes.stem)
    source, width = sizes.stem, sizes.width
    for stage, blocks in enumerate(sizes.stages):
        for i, (kernel, hidden, features) in enumerate(blocks):
            path = f"stage{stage}_{i}"
            yield conv(f"{path}/expand", source, hidden, True)
            if i == 0:  # the sides of the map before stand between the parts of the block that halves it
                yield from _sides(sizes, 2 << stage, source, separable)
            yield depthwise(f"{path}/depthwise", hidden, kernel, 1 if i else 2)
            yield conv(f"{path}/project", hidden, features)
            source = features
    end = sizes.stages[-1][-1].hidden
    yield conv("end_expand", source, end, True)
    yield depthwise("end_depthwise", end)
    yield from separable("lateral_32", end, sizes.pyramid)
    widths = [features for features, _ in sizes.second]
    if sizes.second:
        yield from separable("second0_down", sizes.pyramid, widths[0], False, 2)
    yield from separable("mask", sizes.pyramid, 8)
    yield from residuals("mask0", 8, 2)
    yield from residuals("mask1", 8, 2)
    yield conv("mask_end", 8, 1, kernel=3)
    for stage, (features, count) in enumerate(sizes.second):
        if stage:
            yield from separable(f"second{stage}_down", widths[stage - 1], features, False, 2)
        yield from residuals(f"second{stage}", features, count)
    yield conv("heat_maps", sizes.pyramid, 39)
    yield from separable("side_32", end, width)
    for stage, count in enumerate(sizes.landmarks):
        yield from separable(f"landmarks{stage}_down", width, width, False, 2)
        yield from residuals(f"landmarks{stage}", width, count)
    for name, features in (("landmarks", 195), ("world", 117), ("presence", 1)):
        yield name, ("CONV_2D", (features, 2, 2, width), 1, None)


def _sides(
    sizes: BlazePoseSizes, stride: int, source: int, separable: Callable[..., Iterator[_Block]]
) -> Iterator[_Block]:
    """The sides of the map of a stride: to the way back or the mask, and to the second encoder."""
    if stride == 2:
        yield from separable("lateral_2", source, 8, not sizes.residual_skip)
        return
    yield from separable(f"lateral_{stride}", source, sizes.pyramid)
    second = {8 << stage: features for stage, (features, _) in enumerate(sizes.second)}
    if stride in second:
        yield from separable(f"side_{stride}", source, second[stride])
