"""Exports a network to a file or folder, which appears only once it was compared with the network."""

import importlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from hmr_jax.export.network import Network
from hmr_jax.export.parity import Parity, Run, measure
from hmr_jax.io import atomic


@dataclass(frozen=True)
class Format:
    """A format of exported networks."""

    module: str
    """Has `write`, `load` and `is_own`, and imports what only this format needs."""
    ending: str
    """Of names."""
    folder: bool = False
    """Whether it is a folder."""

    def load(self, path: Path) -> Run:
        """What was written, as a function from crops to bodies and landmarks."""
        return importlib.import_module(self.module).load(path)


FORMATS = {
    "stablehlo": Format("hmr_jax.export.stablehlo", ".stablehlo"),
    "onnx": Format("hmr_jax.export.onnx_file", ".onnx"),
}


@dataclass(frozen=True)
class Written:
    """What an export wrote."""

    path: Path
    parity: Parity
    """By how much it differs from the network, see `hmr_jax.export.parity`."""


def export_network(
    network: Network, to: str, output: Path | None = None, formats: Mapping[str, Format] = FORMATS
) -> Written:
    """Writes a network, and compares what was written with it.

    Args:
        network: what is exported.
        to: one of the formats.
        output: the file or folder; None: named after the checkpoint, in the working directory.
        formats: by name.

    Raises:
        ValueError: there is no such format; the network has an operation that the format lacks; or what was written
            gives other numbers, see `hmr_jax.export.parity`. Then nothing is left.
        FileExistsError: `output` is something else than an earlier export of this format.
        ImportError: a package is missing.
    """
    if to not in formats:
        raise ValueError(f"There is no format '{to}': export to {', '.join(formats)}.")
    form = formats[to]
    module = importlib.import_module(form.module)
    path = Path(f"{network.checkpoint['name']}{form.ending}") if output is None else output
    _check_place(path, module, to)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not form.folder:
        with atomic.writing(path) as part:
            module.write(part, network)
            parity = measure(network, module.load(part))
        return Written(path, parity)
    with atomic.writing_folder(path) as part:
        module.write(part, network)
        parity = measure(network, module.load(part))
        if path.exists():
            shutil.rmtree(path)
    return Written(path, parity)


def _check_place(path: Path, module: ModuleType, to: str) -> None:
    """Raises FileExistsError if something else than an earlier export is there."""
    if path.exists() and not module.is_own(path):
        raise FileExistsError(f"{path} exists and is no {to} of hmr_jax: choose another --output, or remove it.")
