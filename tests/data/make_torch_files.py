"""Writes small checkpoints with PyTorch, as they are found in the wild: `python tests/data/make_torch_files.py`."""

import argparse
import pathlib
import sys
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent


def weights() -> OrderedDict:
    """Tensors of several types, two views of one storage, and one of every odd kind; see tests/test_torch_files.py."""
    base = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    return OrderedDict(
        weight=base,
        transposed=base.t(),
        part=base[1:, ::2],
        half=torch.tensor([0.5, 1.5], dtype=torch.float16),
        brain=torch.tensor([1.0, -2.0, 3.0], dtype=torch.bfloat16),
        counter=torch.tensor(7),
        flags=torch.tensor([True, False]),
        repeated=torch.ones(1).expand(4),
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(torch.full((2, 2), 0.25)),
    )


def main() -> None:
    torch.save(weights(), HERE / "torch_zip.pth")
    torch.save(weights(), HERE / "torch_legacy.pth", _use_new_zipfile_serialization=False)

    module = types.ModuleType("a_project_that_is_not_installed")

    class Settings(dict):
        """Stands for the configuration classes that Lightning pickles with a checkpoint."""

    Settings.__module__, Settings.__qualname__ = module.__name__, "Settings"
    module.Settings = Settings
    sys.modules[module.__name__] = module
    settings = Settings(width=3)
    settings.tensor = torch.ones(2)
    checkpoint = {
        "epoch": 35,
        "state_dict": weights(),
        "hyper_parameters": {"cfg": settings, "path": pathlib.PurePosixPath("data"), "ns": argparse.Namespace(a=1)},
        "callbacks": {Settings: {"best": np.float64(1.5), "history": np.arange(3)}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(5)}}, "param_groups": [{"lr": 1e-5}]}],
    }
    torch.save(checkpoint, HERE / "lightning.ckpt")
    torch.save(checkpoint, HERE / "lightning_legacy.ckpt", _use_new_zipfile_serialization=False)
    torch.save(settings, HERE / "torch_object.pth")


if __name__ == "__main__":
    main()
