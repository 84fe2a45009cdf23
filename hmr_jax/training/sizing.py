"""Memory and network that a recipe needs, computed on shapes alone: hmr size --config FILE

Nothing is trained and no accelerator is needed: the step is compiled for CPU devices that do not exist.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

from hmr_jax.cli import ConfigFields
from hmr_jax.config import Config

GIB = 2**30


@dataclass(frozen=True)
class Size:
    """Bytes of one device, and what it computes and sends in a step."""

    devices: int
    parameters: int
    frozen: int
    optimizer: int
    """With the moving average and the discriminator, if there are any."""
    batch: int
    temporary: int
    """Gradients, and activations between forward and backward pass. -1: not compiled."""
    flops: float
    """Of one device and step; 0: not compiled."""
    collectives: dict[str, int]
    """Bytes of results by the kind of operation."""

    @property
    def total(self) -> int:
        """All bytes of one device."""
        return self.parameters + self.frozen + self.optimizer + self.batch + max(self.temporary, 0)


def main(config: ConfigFields, devices: int = 8, compiled: bool = True) -> None:
    """Prints what each device holds, and what devices send each other in a step, without training anything.

    Args:
        config: the experiment; `--batch-size`, `--mesh.fsdp`, `--optim.accumulate` and `--model.encoder.remat` change
            what is needed.
        devices: how many the recipe is split over.
        compiled: whether the step is compiled, which takes minutes for large encoders and tells activations and
            traffic.
    """
    import jax

    os.environ["HMR_JAX_PLAIN"] = "1"  # kernels for CPUs cannot be split
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", devices)
    print(table([size_of(config, devices, compiled)]))


def size_of(config: Config, devices: int, compiled: bool = True) -> Size:
    """What a recipe needs on the first so many devices of this process. Encoder and decoder are in bfloat16."""
    import jax

    from hmr_jax import distributed
    from hmr_jax.training.abstract import abstract_step, bytes_per_device
    from hmr_jax.training.collectives import collective_bytes

    if config.model.dtype == "auto":
        config = replace(config, model=replace(config.model, dtype="bfloat16"))
    made = abstract_step(config, distributed.make_mesh(config.mesh, jax.devices()[:devices]))
    state = made.state
    parameters = bytes_per_device(state.trained)
    size = Size(
        devices, parameters, bytes_per_device(made.frozen), bytes_per_device(state) - parameters,
        bytes_per_device(made.batch), -1, 0.0, {},
    )  # fmt: skip
    if not compiled:
        return size
    lowered = made.step.lower(*made.arguments)
    flops = (lowered.cost_analysis() or {}).get("flops", 0.0) / devices
    program = lowered.compile()
    temporary = program.memory_analysis().temp_size_in_bytes
    return replace(size, temporary=temporary, flops=flops, collectives=collective_bytes(program.as_text()))


def table(sizes: Iterable[Size]) -> str:
    """A table in Markdown with a row for each."""
    head = "| devices | parameters | frozen | optimiser | batch | activations, gradients | all | TFLOP | sent |"
    rows = [head, "|" + "---|" * 9]
    for size in sizes:
        known = size.temporary >= 0
        sent = ", ".join(f"{kind} {_gib(count)}" for kind, count in sorted(size.collectives.items())) or "nothing"
        cells = [
            str(size.devices), _gib(size.parameters), _gib(size.frozen), _gib(size.optimizer), _gib(size.batch),
            _gib(size.temporary) if known else "?", _gib(size.total) if known else "?",
            f"{size.flops / 1e12:.3g}" if known else "?", sent if known else "?",
        ]  # fmt: skip
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n\nGiB of one device; of one step: TFLOP that it computes and GiB that it receives."


def _gib(size: int) -> str:
    return f"{size / GIB:.3g}"


if __name__ == "__main__":
    from hmr_jax import cli

    cli.run(main, "python -m hmr_jax.training.sizing")
