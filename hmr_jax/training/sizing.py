"""Memory and network that a recipe needs, computed on shapes alone: hmr size --config FILE

Nothing is trained and no accelerator is needed: the step is compiled for CPU devices that do not exist.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

from hmr_jax.cli import ConfigFields
from hmr_jax.config import Config

GIB = 2**30
_RING = {"all-reduce": 2.0}  # how often each byte of a result travels; that of other operations once


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


def main(
    config: ConfigFields,
    devices: int = 8,
    compiled: bool = True,
    step_ms: float = 0.0,
    node_gbs: float = 450.0,
    network_gbs: float = 50.0,
) -> None:
    """Prints what each device holds, and what devices send each other in a step, without training anything.

    Args:
        config: the experiment; `--batch-size`, `--mesh.fsdp`, `--optim.accumulate` and `--model.encoder.remat` change
            what is needed.
        devices: how many the recipe is split over.
        compiled: whether the step is compiled, which takes minutes for large encoders and tells activations and
            traffic.
        step_ms: the time of a step on one device with its share of the batch. With it, the efficiency on more nodes of
            so many `devices` each is predicted, at the same batch for each device.
        node_gbs: what a device receives from the others of its node, GB/s.
        network_gbs: what a device receives from other nodes, GB/s.
    """
    import jax

    os.environ["HMR_JAX_PLAIN"] = "1"  # kernels for CPUs cannot be split
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", devices)
    size = size_of(config, devices, compiled)
    print(table([size]))
    if step_ms and compiled:
        print("\n" + scaling_table(size, config.mesh.fsdp, 1e-3 * step_ms, node_gbs, network_gbs))


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


def efficiency(
    size: Size, fsdp: int, nodes: int, step_seconds: float, node_gbs: float, network_gbs: float
) -> tuple[float, float]:
    """Weak scaling on paper, by rings in the node and between nodes, with nothing hidden behind computation.

    Args:
        size: of a node.
        fsdp: devices over which its parameters are split.
        nodes: how many.
        step_seconds: of one device alone.
        node_gbs: what a device receives in its node, GB/s.
        network_gbs: what it receives from other nodes, GB/s.

    Returns:
        Bytes that a device receives from other nodes in a step, and the share of the time in which it computes.
    """
    part = (size.devices - 1) / size.devices
    inside = sum(_RING.get(kind, 1.0) * part * count for kind, count in size.collectives.items())
    gradients = size.parameters * fsdp / size.devices  # a device's part, after its node has added up
    between = 2 * (nodes - 1) / nodes * gradients
    sending = inside / (1e9 * node_gbs) + between / (1e9 * network_gbs)
    return between, step_seconds / (step_seconds + sending)


def scaling_table(size: Size, fsdp: int, step_seconds: float, node_gbs: float, network_gbs: float) -> str:
    """A table in Markdown of `efficiency` for one, 8 and 32 nodes."""
    rows = ["| devices | from other nodes, GiB | efficiency |", "|---|---|---|"]
    for nodes in (1, 8, 32):
        between, share = efficiency(size, fsdp, nodes, step_seconds, node_gbs, network_gbs)
        rows.append(f"| {nodes * size.devices} | {_gib(round(between))} | {100 * share:.1f} % |")
    return "\n".join(rows)


def _gib(size: int) -> str:
    return f"{size / GIB:.3g}"


if __name__ == "__main__":
    from hmr_jax import cli

    cli.run(main, "python -m hmr_jax.training.sizing")
