"""`make quickstart`: from nothing to pictures of fitted bodies, with the commands that a user would type.

Everything goes to quickstart/. A step whose result is there already is not repeated; an interrupted training goes on.
"""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

OUT = Path("quickstart")
DATA, RUN, PICTURES, RESULTS = OUT / "data", OUT / "run", OUT / "pictures", OUT / "predictions"
EXAMPLES = ("train=6000", "validation=256", "test=512")
NUM_PICTURES = 12


def main() -> None:
    start = time.time()
    if not (DATA / "synthetic_people").exists():
        options = ["--option", "depth=false", "--option", "size=192"]
        run("-m", "data_pipelines.build", "synthetic_people", "--data-dir", DATA, *options, "--examples", *EXAMPLES)
    run(
        "train.py", "--config", "configs/quickstart.py", "--output", OUT, "--name", RUN.name,
        "--data.directory", DATA,
    )  # fmt: skip
    run("eval.py", "--checkpoint", RUN, "--data", DATA)
    draw_pictures()
    run("predict.py", PICTURES, "--boxes", PICTURES / "boxes.json", "--checkpoint", RUN, "--output", RESULTS)
    page = write_page(time.time() - start)
    print(f"\nDone in {(time.time() - start) / 60:.1f} minutes. Open {page} in a browser.")


def run(*arguments) -> None:
    """Runs a Python command as a user would, showing it; ends the quickstart where it fails."""
    command = [str(argument) for argument in arguments]
    print(f"\n$ python {shlex.join(command)}", flush=True)
    code = subprocess.run([sys.executable, *command]).returncode
    if code:
        sys.exit(code)


def draw_pictures() -> None:
    """Test people that are in no data set, as files with boxes."""
    from data_pipelines.synthetic.people import SyntheticPeople

    people = SyntheticPeople(size=384, seed=10_000, margin=1.6)
    drawn = people.batch(np.arange(NUM_PICTURES))
    people.close()
    PICTURES.mkdir(exist_ok=True)
    boxes = {}
    for number, image in enumerate(drawn["image"]):
        name = f"person_{number:02d}.jpg"
        Image.fromarray(image).save(PICTURES / name, quality=92)
        points = drawn["keypoints_2d"][number, :, :2]
        boxes[name] = [[*points.min(0).tolist(), *points.max(0).tolist()]]
    (PICTURES / "boxes.json").write_text(json.dumps(boxes))


def write_page(seconds: float) -> Path:
    """quickstart/index.html: curves, test table, overlays, one body to turn."""
    from hmr_jax.rendering.page import Body, Curves, Gallery, Numbers, Table, write_report

    result = json.loads((RUN / "evaluation_test.json").read_text())
    rows = [json.loads(line) for line in (RUN / "metrics.jsonl").read_text().splitlines()]
    metrics, mean = result["metrics"], result["baseline"]
    overlays = [
        (path.stem.removesuffix("_overlay"), np.asarray(Image.open(path)))
        for path in sorted(RESULTS.glob("*_overlay.png"))
    ]
    sampling = [
        ("where each layer looks", np.asarray(Image.open(path))) for path in sorted(RESULTS.glob("*_sampling.png"))
    ]
    body = np.load(RESULTS / "person_00.npz")
    names = {"mpjpe": "MPJPE", "pa_mpjpe": "PA-MPJPE", "pve": "PVE"}
    return write_report(
        OUT / "index.html",
        "DeforHMR on synthetic people",
        [
            Numbers({names[key]: f"{metrics[key]:.0f} mm" for key in names} | {"wall time": f"{seconds / 60:.1f} min"}),
            Table(
                f"Test set: {result['samples']} people",
                ["metric", "this model, mm", "mean body, mm", "ratio"],
                [[names[key], metrics[key], mean[key], f"{metrics[key] / mean[key]:.2f}"] for key in names],
                "The mean body is the best constant prediction: each joint's mean rotation and the mean shape.",
            ),
            Gallery("People it has never seen: photo, front, side, top", overlays, wide=True),
            Gallery("Sampling points of the deformable attention", sampling[:2], wide=True),
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
        summary="A small DeforHMR: the shipped encoder frozen, the decoder trained from scratch a few minutes ago.",
        footer=f"hmr_jax {result['version']}, checkpoint of step {result['checkpoint']['step']}",
    )


if __name__ == "__main__":
    main()
