# %% [markdown]
# # Train on your own data
#
# From images with named joints to a fine-tuned network: write the capture format, build, look, train, resume, evaluate.
# You need the extra `train`, and a few minutes.
#
# The "own data" are 24 synthetic people written as a capture with 3-D joints and cameras, without body parameters. With
# your own images only the first section changes. Sizes and steps are tiny: this shows the way, the network hardly
# changes.

# %%
import json
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

from PIL import Image

from data_pipelines.build import build
from data_pipelines.inspect import inspect
from data_pipelines.sources import make_source
from data_pipelines.synthetic.people import SyntheticPeople
from hmr_commands.evaluate import main as evaluate
from hmr_jax import runtime
from hmr_jax.body.joints import J19
from hmr_jax.checkpoints import SHIPPED_MODEL
from hmr_jax.cli import load_config
from hmr_jax.config import CheckpointConfig, DatasetConfig, FeatureCacheConfig
from hmr_jax.training import train

runtime.set_up()
OUT = Path("runs/example_own_data")
rmtree(OUT, ignore_errors=True)
CAPTURE, DATA = OUT / "capture", OUT / "data"
(CAPTURE / "images").mkdir(parents=True)

# %% [markdown]
# ## Write the capture format
#
# One JSON file per split, with the images beside it: the names of the joints, units, cameras, and for each person an
# image, a camera and joints. The files can hold anything that you have; a missing joint is `null`. [Use your own
# captures](../howto/own_data.md) describes all fields.

# %%
people = SyntheticPeople(size=160, seed=20_000, margin=1.8)
for split, numbers in (("train", range(16)), ("validation", range(16, 20)), ("test", range(20, 24))):
    drawn = people.batch(numbers)
    document = {
        "format": "hmr-jax-capture-1",
        "units": "m",
        "axes": "camera",
        "pixels": "corners",
        "joints": list(J19),
        "cameras": {},
        "people": [],
    }
    for row, number in enumerate(numbers):
        image = f"images/{number:03d}.jpg"
        Image.fromarray(drawn["image"][row]).save(CAPTURE / image, quality=92)
        document["cameras"][str(number)] = {"intrinsics": drawn["intrinsics"][row].tolist()}
        joints = drawn["keypoints_3d"][row, 25:, :3].tolist()  # the last 19 of the 44 keypoints
        document["people"].append({"image": image, "camera": str(number), "keypoints_3d": joints})
    (CAPTURE / f"{split}.json").write_text(json.dumps(document))
people.close()

# %% [markdown]
# ## Build
#
# The files are checked first; each mistake is a sentence. Joints alone do not determine a body, so the training mixes
# them with synthetic people, who have exact body parameters.

# %%
build("mlb_pitch", DATA, manual_dir=CAPTURE)
build("synthetic_people", DATA, examples={"train": 16, "validation": 4}, size=160)

# %% [markdown]
# On the command line:
#
# ```bash
# python -m data_pipelines.build mlb_pitch --manual-dir CAPTURE --data-dir data
# python -m data_pipelines.build synthetic_people --data-dir data --examples train=12000 validation=500
# python -m data_pipelines.inspect mlb_pitch --data-dir data
# ```
#
# ## Look
#
# A page with counts, histograms and a contact sheet shows a wrong convention at a glance. Look before you train.

# %%
print("look at", inspect("mlb_pitch", DATA, images=4))

# %% [markdown]
# ## Configure
#
# The shipped network's configuration with half of the examples from each data set, started from that network.
# `cache.examples` would keep the features of the frozen encoder; for two steps that gains nothing.

# %%
config = load_config("deforhmr_heavy")
config = replace(
    config,
    name="pitchers",
    output=str(OUT),
    steps=2,
    batch_size=8,
    log_every=1,
    eval_every=0,
    init_from=str(SHIPPED_MODEL),
    cache=FeatureCacheConfig(examples=0),
    optim=replace(config.optim, name="adamw", learning_rate=1e-4, warmup_steps=1),
    data=replace(
        config.data,
        source="records",
        directory=str(DATA),
        datasets=(DatasetConfig("mlb_pitch", 0.5), DatasetConfig("synthetic_people", 0.5)),
    ),
    checkpoint=CheckpointConfig(every=2),
)

# %% [markdown]
# In a file, `get_config()` returns such a configuration, and `python train.py --config FILE` trains it.
#
# ## Train, and resume
#
# The log says what each data set contributes. Called again, the training continues from its last checkpoint; here it is
# finished, so nothing is left to do. More `steps` would continue it.

# %%
run = train(config, make_source(config, "train"))
assert train(config, make_source(config, "train")) == run

# %% [markdown]
# ## Evaluate
#
# `mlb-pitch` scores joints where there are no body parameters.

# %%
evaluate(checkpoint=(run,), protocol=("mlb-pitch",), data=str(DATA), batch_size=4, output=OUT / "result.json")
result = json.loads((OUT / "result.json").read_text())
print(f"MPJPE of {result['samples']} people: {result['metrics']['mpjpe']:.0f} mm")

# %% [markdown]
# On the command line:
#
# ```bash
# python eval.py --checkpoint runs/pitchers --protocol mlb-pitch --data data
# python predict.py photo.jpg --boxes 80,40,310,620 --checkpoint runs/pitchers
# ```
#
# [Fine-tune from a checkpoint](../howto/fine_tune.md) and [Resume a run](../howto/resume.md) say more.
