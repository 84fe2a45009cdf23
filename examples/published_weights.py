# %% [markdown]
# # Bring published weights
#
# A published checkpoint becomes a folder that all commands load. You need an installation without extras, and less than
# a minute.
#
# Published files cannot be part of this project. So the script first writes one: a small encoder of random weights
# under the names of ViTPose. This has an advantage: what comes out of the conversion must equal what went in.

# %%
import json
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import jax
import numpy as np

from hmr_jax import runtime
from hmr_jax.batch import zeros
from hmr_jax.checkpoints import load_for_inference, load_initial
from hmr_jax.cli import load_config
from hmr_jax.models import build_model
from hmr_jax.models.parameters import init_params
from hmr_jax.weights import Options, read_torch_checkpoint
from hmr_jax.weights.convert import convert

runtime.set_up()  # quiet libraries; compiled programs are kept on the disk
OUT = Path("runs/example_weights")
rmtree(OUT, ignore_errors=True)
OUT.mkdir(parents=True)

# %% [markdown]
# ## A file in ViTPose's form
#
# PyTorch's linear layers hold (output, input), Flax's (input, output). A safetensors file is the length of a header,
# the header in JSON, and the numbers.

# %%
small = load_config("deforhmr_small")
model = build_model(small.model)
params = init_params(model, jax.random.key(0), zeros(1, small.data.crop_size))
encoder = jax.tree.map(np.asarray, params["encoder"])
state = {
    "pos_embed": encoder["pos_embed"][None],
    "patch_embed.proj.weight": np.transpose(encoder["patch_embed"]["kernel"], (3, 2, 0, 1)),
    "patch_embed.proj.bias": encoder["patch_embed"]["bias"],
    "last_norm.weight": encoder["norm"]["scale"],
    "last_norm.bias": encoder["norm"]["bias"],
}
names = {"norm1": "norm1", "norm2": "norm2", "qkv": "attn.qkv", "proj": "attn.proj", "fc1": "mlp.fc1", "fc2": "mlp.fc2"}
for ours, theirs in names.items():
    layer = encoder["blocks"]["block"][ours]  # arrays of all blocks along the first axis
    for number, bias in enumerate(layer["bias"]):
        weight = layer["scale"][number] if "scale" in layer else layer["kernel"][number].T
        state |= {f"blocks.{number}.{theirs}.weight": weight, f"blocks.{number}.{theirs}.bias": bias}

header, start = {}, 0
for name, array in state.items():
    header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": (start, start + array.nbytes)}
    start += array.nbytes
text = json.dumps(header).encode()
numbers = b"".join(np.ascontiguousarray(array).tobytes() for array in state.values())
file = OUT / "vitpose.safetensors"
file.write_bytes(len(text).to_bytes(8, "little") + text + numbers)

# %% [markdown]
# ## Convert
#
# The network is recognised by its names. The number of attention heads is not in the file and 3 is not a published one,
# so it is given. Every tensor is used or named as dropped; otherwise nothing is written.

# %%
print(convert(file, OUT / "encoder", Options(heads=3)))

# %% [markdown]
# On the command line, here and with published files:
#
# ```bash
# python -m hmr_jax.weights.convert runs/example_weights/vitpose.safetensors --to weights/tiny --heads 3
# python -m hmr_jax.weights.convert vitpose-h.pth --to weights/vitpose_h
# ```
#
# The [model zoo](../model_zoo.md#what-can-be-converted) lists the published files.
#
# ## Check
#
# `read_torch_checkpoint` gives the arrays of the file, `load_for_inference` those of the folder. They are the same
# numbers:

# %%
assert read_torch_checkpoint(file).keys() == state.keys()
config, converted = load_for_inference(OUT / "encoder")
jax.tree.map(np.testing.assert_array_equal, converted["encoder"], encoder)
print(f"equal to the encoder in the file: {config.model.encoder}")

# %% [markdown]
# ## Start a training from it
#
# `init_from` names the folder, `init_groups` what to take of it. `load_initial` is what training calls before its first
# step:

# %%
start_config = replace(small, init_from=str(OUT / "encoder"), init_groups=("encoder",))
started = load_initial(start_config, init_params(model, jax.random.key(1), zeros(1, small.data.crop_size)))
jax.tree.map(np.testing.assert_array_equal, started["encoder"], encoder)
print("groups of the model:", ", ".join(started))

# %% [markdown]
# On the command line:
#
# ```bash
# python train.py --config configs/deforhmr_paper.py --init-from weights/vitpose_h --model.body SMPL_NEUTRAL.npz
# ```
#
# [Convert published weights](../weights.md) says what else can be done with a converted folder.
