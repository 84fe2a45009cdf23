"""TensorFlow Lite files without their weights, and weights made by rule to fill them with.

A skeleton has the bytes of a file without its float16 tensors ("rest"), and where those tensors begin and how long they
are ("places": number of the tensor, start, bytes).
"""

import numpy as np

from hmr_jax.weights.tflite_file import parse_tflite


def stored_parts(data: bytes) -> dict[str, np.ndarray]:
    """The skeleton of a file."""
    whole = np.frombuffer(data, np.uint8)
    constants = parse_tflite(data).constants
    places = [
        (number, array.ctypes.data - whole.ctypes.data, array.nbytes)
        for number, array in constants.items()
        if array.dtype == np.float16
    ]
    keep = np.ones(len(whole), bool)
    for _, start, size in places:
        keep[start : start + size] = False
    return {"rest": whole[keep], "places": np.array(places, np.int64)}


def fill(parts: dict[str, np.ndarray]) -> bytes:
    """A whole file, whose weights are normal with the variance 1 / inputs, seeded by the tensors' numbers."""
    places = parts["places"]
    whole = np.zeros(len(parts["rest"]) + places[:, 2].sum(), np.uint8)
    keep = np.ones(len(whole), bool)
    for _, start, size in places:
        keep[start : start + size] = False
    whole[keep] = parts["rest"]
    constants = parse_tflite(whole.tobytes()).constants
    for number, start, size in places:
        shape = constants[int(number)].shape
        depthwise = len(shape) == 4 and shape[0] == 1 and shape[1] in (3, 5)
        inputs = np.prod(shape[1:3] if depthwise else shape[1:])
        scale = np.sqrt(1 / inputs) if len(shape) == 4 else 0.1
        values = scale * np.random.default_rng(int(number)).standard_normal(shape)
        whole[start : start + size] = np.frombuffer(values.astype(np.float16).tobytes(), np.uint8)
    return whole.tobytes()


def image() -> np.ndarray:
    """(1, 256, 256, 3) in [0, 1]: waves of all lengths."""
    steps = np.linspace(0, 1, 256, dtype=np.float32)
    waves = [np.sin(2 * np.pi * (f * steps[:, None] + (9 - f) * steps[None] ** 2)) for f in (2, 5, 8)]
    return np.stack(waves, -1)[None].astype(np.float32) / 2 + 0.5
