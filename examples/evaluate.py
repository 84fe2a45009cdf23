# %% [markdown]
# # Evaluate
#
# Score a checkpoint, score another system's predictions, and compare two results. You need an installation without
# extras, and about a minute. The functions that are called here are the commands themselves: their parameters are the
# options.

# %%
import json
from pathlib import Path

import jax
import numpy as np

from hmr_commands.evaluate import main as evaluate
from hmr_jax.body import joint_set_matrix, load_body_model, skin
from hmr_jax.checkpoints import SHIPPED_MODEL
from hmr_jax.geometry import axis_angle_to_matrix
from hmr_jax.protocols import PROTOCOLS, get_protocol

OUT = Path("runs/example_evaluate")
OUT.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## A checkpoint
#
# The protocol `synthetic` makes its test people on the fly. Sixteen of them show the way; [results](../results.md) has
# the errors on 512.

# %%
evaluate(checkpoint=(SHIPPED_MODEL,), data="synthetic", examples=16, batch_size=8, output=OUT / "shipped.json")
result = json.loads((OUT / "shipped.json").read_text())
print(result["metrics"]["mpjpe"], result["intervals"]["mpjpe"], result["baseline"]["mpjpe"])

# %% [markdown]
# `metrics` are means over the samples, `intervals` their 95 % intervals, and `baseline` is the best constant body. Rows
# of the samples are beside it:

# %%
with np.load(OUT / "shipped.samples.npz") as samples:
    worst = samples["key"][np.argmax(samples["mpjpe"])]
print("the largest error is that of sample", worst)

# %% [markdown]
# On the command line, with the data set that the quickstart made:
#
# ```bash
# python eval.py --checkpoint runs/quickstart --data data --report report
# ```
#
# ## Protocols
#
# A protocol names every choice that moves a number.

# %%
print(", ".join(PROTOCOLS))
protocol = get_protocol("3dpw-j14-hips")
print(protocol.root_name, protocol.gender, protocol.source)

# %% [markdown]
# ## Another system
#
# Any system can be scored: its predictions are one npz file, the truth is a data set or another npz file. Here 24
# people are posed at random in eight sequences of three frames, and two systems see them with different noise. The
# sequence is the part of a key before the number.

# %%
rng = np.random.default_rng(0)
keys = np.array([f"walk_{number // 3}/{number % 3:03d}" for number in range(24)])
pose = rng.normal(0, 0.3, (24, 24, 3)).astype(np.float32)
betas = rng.normal(0, 1, (24, 10)).astype(np.float32)

body = load_body_model()
matrix, vertex_ids = joint_set_matrix(body, "keypoints_44")
posed = jax.jit(skin)(body, betas, axis_angle_to_matrix(pose))
sources = np.concatenate([posed.joints, posed.vertices[:, vertex_ids]], 1)
keypoints = np.concatenate([np.einsum("kn,bnc->bkc", matrix, sources), np.ones((24, 44, 1))], -1).astype(np.float32)
about = {"keys": keys, "topology": "hmr-default"}
np.savez(OUT / "truth.npz", **about, pose=pose, betas=betas, keypoints_3d=keypoints)
for name, noise in (("first", 0.10), ("second", 0.12)):
    noisy = (pose + rng.normal(0, noise, pose.shape)).astype(np.float32)
    np.savez(OUT / f"{name}.npz", **about, pose=noisy, betas=betas)

# %%
evaluate(
    predictions=(OUT / "first.npz", OUT / "second.npz"),
    data=str(OUT / "truth.npz"),
    batch_size=24,
    output=OUT / "scores",
)

# %% [markdown]
# ## Compare
#
# Differences are paired: the same samples, with an interval from whole sequences and a p-value from flipping their
# signs.

# %%
evaluate(compare=(OUT / "scores" / "first_synthetic.json", OUT / "scores" / "second_synthetic.json"))

# %% [markdown]
# [Score another system](../howto/score_another_system.md) has the command lines, and [Evaluation](../evaluation.md)
# explains the protocols.
