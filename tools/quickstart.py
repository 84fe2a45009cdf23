"""`make quickstart`: from nothing to images of fitted bodies, with the commands that a user would type.

    python -m tools.quickstart [deforhmr|d2a [--FIELD VALUE ...]]      fields of the configuration, as for train.py

Everything goes to quickstart/ (D2A-HMR: quickstart_d2a/). A step whose result is there already is not
repeated; an interrupted training goes on.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

NUM_IMAGES = 12


@dataclass(frozen=True)
class Model:
    """What differs between the models."""

    title: str
    config: str
    folder: Path
    depth: bool
    """Whether it sees depth: then records and images come with it."""
    image: str
    """Suffix of the images of what the network looks at, and their heading."""
    heading: str
    photographs: Path | None = None
    """Shown too, with the bodies that the new model finds in them."""
    examples: tuple[str, ...] = ("train=6000", "validation=256", "test=512")


MODELS = {
    "deforhmr": Model(
        "DeforHMR", "configs/quickstart.py", Path("quickstart"), False,
        "sampling", "Sampling points of the deformable attention", Path("examples/photos"),
    ),
    "d2a": Model(
        "D2A-HMR", "configs/d2a_hmr_quickstart.py", Path("quickstart_d2a"), True,
        "details", "Expected errors, silhouette, and what the fusion takes from image and depth",
    ),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="deforhmr", choices=MODELS)
    options, fields = parser.parse_known_args()
    model = MODELS[options.model]
    out, start = model.folder, time.time()
    data, trained, images, results = out / "data", out / "run", out / "images", out / "predictions"
    if not (data / "synthetic_people").exists():
        options = ["--option", f"depth={str(model.depth).lower()}", "size=384", "--examples", *model.examples]
        run("-m", "data_pipelines.build", "synthetic_people", "--data-dir", data, *options)
    run(
        "train.py", "--config", model.config, "--output", out, "--name", trained.name, "--data.directory", data,
        "--cache.directory", out / "features", *fields,
    )  # fmt: skip
    run("eval.py", "--checkpoint", trained, "--data", data)
    draw_images(images, model.depth)
    depth = ["--depth", images / "depth"] if model.depth else []
    run("predict.py", images, "--boxes", images / "boxes.json", "--checkpoint", trained, "--output", results, *depth)
    if model.photographs:
        run("predict.py", model.photographs, "--checkpoint", trained, "--output", out / "photographs")
    page = write_page(model, time.time() - start)
    print(f"\nDone in {(time.time() - start) / 60:.1f} minutes. Open {page} in a browser.")


def run(*arguments) -> None:
    """Runs a Python command as a user would, showing it; ends the quickstart where it fails."""
    command = [str(argument) for argument in arguments]
    print(f"\n$ python {shlex.join(command)}", flush=True)
    code = subprocess.run([sys.executable, *command]).returncode
    if code:
        sys.exit(code)


def draw_images(folder: Path, depth: bool) -> None:
    """Test people that are in no data set, as files with boxes and, if asked for, depth maps."""
    from data_pipelines.synthetic.people import SyntheticPeople

    people = SyntheticPeople(size=384, seed=10_000, margin=1.6)
    drawn = people.batch(np.arange(NUM_IMAGES))
    people.close()
    folder.mkdir(exist_ok=True)
    boxes = {}
    for number, image in enumerate(drawn["image"]):
        name = f"person_{number:02d}.jpg"
        Image.fromarray(image).save(folder / name, quality=92)
        points = drawn["keypoints_2d"][number, :, :2]
        boxes[name] = [[*points.min(0).tolist(), *points.max(0).tolist()]]
        if depth:
            (folder / "depth").mkdir(exist_ok=True)
            np.savez_compressed(
                folder / "depth" / f"person_{number:02d}.npz", depth=drawn["depth"][number], kind="metric"
            )
    (folder / "boxes.json").write_text(json.dumps(boxes))


def pictures(folder: Path, kind: str) -> list[tuple[str, np.ndarray]]:
    """Names and pixels of a folder's pictures of one kind."""
    paths = sorted(folder.glob(f"*_{kind}.png"))
    return [(path.stem.removesuffix(f"_{kind}"), np.asarray(Image.open(path))) for path in paths]


def write_page(model: Model, seconds: float) -> Path:
    """index.html: curves, test table, overlays, one body to turn."""
    from hmr_jax.rendering.page import Body, Curves, Gallery, Numbers, Table, write_report

    trained, results = model.folder / "run", model.folder / "predictions"
    result = json.loads((trained / "evaluation_test.json").read_text())
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    metrics, mean = result["metrics"], result["baseline"]
    overlays, looks = pictures(results, "overlay"), pictures(results, model.image)
    photographs = pictures(model.folder / "photographs", "overlay")
    body = np.load(results / "person_00.npz")
    names = {"mpjpe": "MPJPE", "pa_mpjpe": "PA-MPJPE", "pve": "PVE"}
    return write_report(
        model.folder / "index.html",
        f"{model.title} on synthetic people",
        [
            Numbers({names[key]: f"{metrics[key]:.0f} mm" for key in names} | {"wall time": f"{seconds / 60:.1f} min"}),
            Table(
                f"Test set: {result['samples']} people",
                ["metric", "this model, mm", "mean body, mm", "ratio"],
                [[names[key], metrics[key], mean[key], f"{metrics[key] / mean[key]:.2f}"] for key in names],
                "The mean body is the best constant prediction: each joint's mean rotation and the mean shape.",
            ),
            *([Gallery("Photographs: picture, front, side, top", photographs, wide=True)] if photographs else []),
            Gallery("Synthetic people it has never seen: picture, front, side, top", overlays, wide=True),
            Gallery(model.heading, looks[:2], wide=True),
            Body("A prediction to turn", body["vertices"][0], body["faces"]),
            Curves(
                "Training",
                rows,
                {
                    "loss": ["train/loss"],
                    "validation error, mm": ["validation/mpjpe", "validation/pa_mpjpe"],
                    "images per second": ["train/images_per_second"],
                },
            ),
            Table("Error of each joint", ["joint", "mm"], [[k, v] for k, v in result["per_joint"].items()]),
        ],
        summary=f"A small {model.title}: the shipped encoder frozen, the rest trained from scratch a few minutes ago.",
        footer=f"hmr_jax {result['version']}, checkpoint of step {result['checkpoint']['step']}",
    )


if __name__ == "__main__":
    main()
