"""Reading a PyTorch state dict strictly: every tensor is taken once or the checkpoint is refused."""

from collections.abc import Mapping

import numpy as np

State = Mapping[str, np.ndarray]


class StrictState:
    """The tensors under a prefix, in Flax's layout, and which of them are left."""

    def __init__(self, state: State, prefix: str, kind: str):
        """`kind` names what the checkpoint should be, for messages."""
        self._state, self._prefix, self._kind = state, prefix, kind
        self._left = {name for name in state if name.startswith(prefix)}

    def has(self, name: str) -> bool:
        return self._prefix + name in self._state

    def take(self, name: str) -> np.ndarray:
        """The tensor as float32; raises KeyError, naming it, where it is missing."""
        if not self.has(name):
            raise KeyError(f"The checkpoint has no '{self._prefix + name}': is it {self._kind}?")
        self._left.discard(self._prefix + name)
        return np.asarray(self._state[self._prefix + name], np.float32)

    def linear(self, name: str, bias: bool = True) -> dict:
        """A Dense layer's kernel and bias."""
        kernel = {"kernel": self.take(f"{name}.weight").T}
        return kernel | {"bias": self.take(f"{name}.bias")} if bias else kernel

    def norm(self, name: str) -> dict:
        """A LayerNorm's scale and bias."""
        return {"scale": self.take(f"{name}.weight"), "bias": self.take(f"{name}.bias")}

    def conv(self, name: str) -> dict:
        """A convolution's kernel, and its bias where it has one."""
        kernel = {"kernel": self.take(f"{name}.weight").transpose(2, 3, 1, 0)}  # OIHW -> HWIO
        return kernel | ({"bias": self.take(f"{name}.bias")} if self.has(f"{name}.bias") else {})

    def running(self, name: str) -> dict:
        """A BatchNorm's running statistics; how many batches made them is not needed."""
        self.drop(f"{name}.num_batches_tracked")
        return {"mean": self.take(f"{name}.running_mean"), "var": self.take(f"{name}.running_var")}

    def drop(self, name: str) -> None:
        """A tensor that is known not to be needed."""
        self._left.discard(self._prefix + name)

    def finish(self) -> None:
        """Raises ValueError, naming them, where tensors are left."""
        if self._left:
            names = ", ".join(sorted(self._left))
            raise ValueError(f"The checkpoint holds tensors that {self._kind} has not: {names}.")
