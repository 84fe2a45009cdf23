# %% [markdown]
# # Predict
#
# From images and boxes to bodies: in Python, and as files. You need an installation without extras, and about a minute.
#
# The images are synthetic people, so that the true body is known. The steps are the same for photographs.

# %%
import json
from pathlib import Path

import numpy as np
from PIL import Image

from data_pipelines.synthetic.people import SyntheticPeople
from hmr_jax import runtime
from hmr_jax.inference import Predictor
from hmr_jax.inference.files import predict_files
from hmr_jax.metrics import mpjpe

runtime.set_up(inference=True)  # faster kernels on CPUs; compiled programs are kept on the disk
OUT = Path("runs/example_predict")
OUT.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## Images and boxes
#
# A box is left, top, right, bottom in pixels, tight around the person. Here it encloses the true keypoints; for
# photographs it comes from you or from a detector.

# %%
people = SyntheticPeople(size=320, seed=10_000, margin=1.6)
truth = people.batch([0, 1, 2])
people.close()
images = list(truth["image"])  # (H, W, 3) uint8, RGB
points = truth["keypoints_2d"][..., :2]
boxes = [np.concatenate([p.min(0), p.max(0)])[None] for p in points]  # (n, 4) for each image

# %% [markdown]
# ## Predict
#
# `Predictor.from_checkpoint()` loads the shipped network. Give it a folder for another one: a run, one of its
# checkpoints, an exported or a converted folder. The first call compiles the network.

# %%
predictor = Predictor.from_checkpoint()
predictions = predictor(images, boxes)
person = predictions[0]
print(f"{person.vertices.shape[0]} vertices, {person.joints.shape[0]} joints, camera {np.round(person.camera, 2)}")

# %% [markdown]
# Vertices, joints and 3-D keypoints are in camera axes and metres, without the translation. Add it to place the body in
# front of the camera:

# %%
in_camera = person.vertices + person.translation
print(f"the body is between {in_camera[:, 2].min():.1f} and {in_camera[:, 2].max():.1f} m away")

# %% [markdown]
# How far depends on the focal length. Without intrinsics and EXIF it is that of a field of view of 60 degrees. With the
# camera's true intrinsics the distance has the right size. The generator counts pixels from the corner of the first
# one, predictions from its centre.

# %%
intrinsics = truth["intrinsics"][0] - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
near = predictor(images[:1], boxes[:1], intrinsics)[0]
print(f"distance {near.translation[2]:.2f} m, true {truth['translation'][0, 2]:.2f} m")

# %% [markdown]
# ## Compare with the truth
#
# `mpjpe` takes metres and gives millimetres. Both sides are moved so that the pelvis (keypoint 39) is at the origin.

# %%
predicted = np.stack([one.keypoints_3d for one in predictions])
true = truth["keypoints_3d"][..., :3]
errors = mpjpe(predicted - predicted[:, 39:40], true - true[:, 39:40])
print("mean error of the keypoints, mm:", np.round(np.asarray(errors)).astype(int))

# %% [markdown]
# ## Show and write
#
# What `Predictor` returns is a list that can be shown (`predictions.show()`, also in notebooks) and written: numbers
# (JSON, npz), a mesh (GLB), an overlay with three views, an image of where the decoder looks, and a page with bodies
# that the mouse rotates.

# %%
print([path.name for path in predictions.save(OUT / "saved", kinds=["json", "html"])])
print(list(predictions.to_dict()))

# %% [markdown]
# `predict_files` does what the command does, with threads that read and write meanwhile:

# %%
paths = [OUT / f"person_{number}.jpg" for number in range(len(images))]
for path, image in zip(paths, images, strict=True):
    Image.fromarray(image).save(path, quality=92)
(OUT / "boxes.json").write_text(json.dumps({path.name: box.tolist() for path, box in zip(paths, boxes, strict=True)}))
written = list(predict_files(predictor, paths, OUT / "results", boxes))
print("\n".join(str(path) for path in written if path.stem.startswith("person_0")))

# %% [markdown]
# The same on the command line:
#
# ```bash
# python predict.py runs/example_predict --boxes runs/example_predict/boxes.json --output runs/example_predict/results
# ```
#
# ![An overlay](../images/first_photo.jpg)
#
# The files hold plain numbers, so they can be read anywhere:

# %%
record = json.loads((OUT / "results" / "person_0.json").read_text())
print(record["topology"], record["camera"]["source"], list(record["people"][0]))
with np.load(OUT / "results" / "person_0.npz") as arrays:
    assert arrays["vertices"].shape == (1, person.vertices.shape[0], 3)

# %% [markdown]
# [Predictions](../outputs.md) describes every field, and [Use depth](../depth.md) adds depth for D2A-HMR.
