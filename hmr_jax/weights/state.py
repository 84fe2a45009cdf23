"""Read a PyTorch state dict strictly: each tensor is used, or dropped for a reason, or the file is refused."""

import mmap
from collections.abc import Callable, Mapping

import numpy as np

State = Mapping[str, np.ndarray]


class StrictState:
    """The tensors under a prefix, in Flax's layout, and which of them were not used yet."""

    def __init__(self, state: State, prefix: str, kind: str, dropped: dict[str, str] | None = None):
        """`kind` names what the checkpoint should be, for messages; `dropped` receives names and reasons."""
        self._state, self._prefix, self._kind = state, prefix, kind
        self._left = {name for name in state if name.startswith(prefix)}
        self._dropped = {} if dropped is None else dropped

    def under(self, prefix: str, kind: str = "") -> "StrictState":
        """The tensors under a longer prefix; tensors used there count as used here."""
        part = StrictState({}, self._prefix + prefix, kind or self._kind, self._dropped)
        part._state, part._left = self._state, self._left
        return part

    def has(self, name: str) -> bool:
        """Whether there is a tensor of this name."""
        return self._prefix + name in self._state

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape; raises KeyError if it is missing, and ValueError if it is a single number."""
        shape = self._get(name).shape
        if not shape:
            raise ValueError(f"'{self._prefix + name}' is a single number, which {self._kind} does not have there.")
        return shape

    def take(self, name: str, *shape: int) -> np.ndarray:
        """The tensor as float32.

        Args:
            name: under the prefix.
            shape: its required shape; -1 for any length, nothing for any shape.

        Raises:
            KeyError: it is missing.
            ValueError: its shape differs, or it holds something else than finite numbers.
        """
        array = self._get(name)
        fits = len(array.shape) == len(shape) and all(w in (-1, n) for w, n in zip(shape, array.shape, strict=True))
        if shape and not fits:
            wanted = tuple("any" if length < 0 else length for length in shape)
            raise ValueError(f"'{self._prefix + name}' has shape {array.shape}; {self._kind} needs {wanted} there.")
        self._left.discard(self._prefix + name)
        return finite(array, self._prefix + name)

    def linear(self, name: str, inputs: int = -1, outputs: int = -1, bias: bool = True) -> dict:
        """A Dense layer's kernel and bias."""
        kernel = {"kernel": self.take(f"{name}.weight", outputs, inputs).T}
        return kernel | {"bias": self.take(f"{name}.bias", outputs)} if bias else kernel

    def conv(self, name: str, inputs: int = -1, outputs: int = -1, size: int = -1, bias: bool = True) -> dict:
        """A convolution's kernel, OIHW -> HWIO, and bias."""
        kernel = {"kernel": self.take(f"{name}.weight", outputs, inputs, size, size).transpose(2, 3, 1, 0)}
        return kernel | {"bias": self.take(f"{name}.bias", outputs)} if bias else kernel

    def norm(self, name: str, dim: int = -1) -> dict:
        """A LayerNorm's scale and bias."""
        return {"scale": self.take(f"{name}.weight", dim), "bias": self.take(f"{name}.bias", dim)}

    def running(self, name: str) -> dict:
        """A BatchNorm's running statistics; their number of batches is not needed."""
        self.drop(f"{name}.num_batches_tracked", "counter of a batch normalisation")
        found = {"mean": self.take(f"{name}.running_mean", -1), "var": self.take(f"{name}.running_var", -1)}
        if (found["var"] < 0).any():
            raise ValueError(f"'{self._prefix}{name}.running_var' holds negative variances: the file is damaged.")
        return found

    def drop(self, start: str, reason: str) -> None:
        """Drops the tensors whose names start with `start`, which are not needed for `reason`."""
        for name in sorted(name for name in self._left if name.startswith(self._prefix + start)):
            self._left.discard(name)
            self._dropped[name] = reason

    def finish(self) -> None:
        """Raises ValueError, which names them, if tensors were not used."""
        if self._left:
            names = ", ".join(sorted(self._left)[:8]) + (", ..." if len(self._left) > 8 else "")
            raise ValueError(f"The checkpoint holds tensors that {self._kind} does not have: {names}.")

    def _get(self, name: str) -> np.ndarray:
        if not self.has(name):
            raise KeyError(f"The checkpoint has no '{self._prefix + name}': is it {self._kind}?")
        return self._state[self._prefix + name]


def finite(array: np.ndarray, name: str) -> np.ndarray:
    """A tensor as float32.

    Raises:
        ValueError: it holds integers, which stand for other numbers in quantised networks, or NaN or infinite values.
    """
    if array.dtype.kind in "biuc":
        raise ValueError(f"'{name}' is of type {array.dtype}: only weights in floating point can be converted.")
    with np.errstate(over="ignore"):
        single = np.asarray(array, np.float32)
    if not np.isfinite(single).all():
        raise ValueError(
            f"'{name}' holds values that are NaN or infinite: the file is damaged, or its training had diverged."
        )
    return single


def stack_layers(read: Callable[[int], dict], depth: int) -> dict:
    """Parameters {layer: {name: array}} of blocks 0 to depth - 1, stacked along a new first axis.

    The pages of a memory-mapped checkpoint are released once they are copied, so that memory holds it once.
    """
    stacked: dict = {}
    for index in range(depth):
        for layer, arrays in read(index).items():
            for name, array in arrays.items():
                into = stacked.setdefault(layer, {})
                if name not in into:
                    into[name] = np.empty((depth, *array.shape), array.dtype)
                if into[name].shape[1:] != array.shape:
                    raise ValueError(
                        f"The {name} of {layer} has shape {array.shape} in block {index}, but {into[name].shape[1:]} "
                        "in block 0: all blocks must have the same shapes."
                    )
                into[name][index] = array
                release_pages(array)
    return stacked


def release_pages(array: np.ndarray) -> None:
    """Releases the memory pages of the mapped file under an array, if any; they are read again on the next use."""
    base: object = array
    while isinstance(base, (np.ndarray, memoryview)):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
