"""Trees of convolutions with batch normalisation, shared by the converters of ResNet and HRNet."""

from hmr_jax.weights.state import StrictState


class Tree:
    """Collects parameters and running statistics under the same paths."""

    def __init__(self, tensors: StrictState):
        self._tensors = tensors
        self.variables: dict = {"params": {}, "batch_stats": {}}

    def conv_norm(self, path: str, conv: str, norm: str) -> None:
        """Puts a `models.residual.ConvNorm` at a path "outer/inner", from the names of its two layers."""
        params, stats = self._at(path)
        params["conv"], params["norm"] = self._tensors.conv(conv), self._tensors.norm(norm)
        stats["norm"] = self._tensors.running(norm)

    def block(self, path: str, name: str) -> None:
        """Puts a residual block there, with as many convolutions as the checkpoint has."""
        count = 1
        while count == 1 or self._tensors.has(f"{name}.conv{count}.weight"):
            self.conv_norm(f"{path}/conv{count}", f"{name}.conv{count}", f"{name}.bn{count}")
            count += 1
        if self._tensors.has(f"{name}.downsample.0.weight"):
            self.conv_norm(f"{path}/downsample", f"{name}.downsample.0", f"{name}.downsample.1")

    def _at(self, path: str) -> tuple[dict, dict]:
        params, stats = self.variables["params"], self.variables["batch_stats"]
        for part in path.split("/"):
            params, stats = params.setdefault(part, {}), stats.setdefault(part, {})
        return params, stats
