"""Fits bodies to the keypoints of a data set: `python -m data_pipelines.fit NAME --data-dir O`.

NAME is a data set of records with keypoints, such as coco_pose/annotations, mpii/annotations or mlb_pitch. The result
is the data set NAME_fitted, which holds the people whose fit was accepted, and a page NAME_fitted.html with residuals,
the reasons of those left out, and overlays. An interrupted run goes on where it stopped.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from tyro.conf import Positional, arg

from data_pipelines.build import build_with
from data_pipelines.builders.labels.fits import Camera, Rules, offsets
from data_pipelines.inspect import drawn_records
from data_pipelines.random_streams import SPLITS
from data_pipelines.records import Record
from data_pipelines.records.reader import BadRecord, RecordReader, find_version, import_tensorflow
from data_pipelines.records.storage import resolved
from hmr_jax import cli
from hmr_jax.body.labelled import LabelledBodies, load_labelled_bodies
from hmr_jax.rendering.charts import column_chart
from hmr_jax.rendering.page import Block, Charts, Gallery, Numbers, Table, write_report

QUANTILES = (0.1, 0.5, 0.9, 0.99)
_BINS = 24
_TOGETHER = 64


def fit(
    name: str,
    data_dir: str | Path,
    new_name: str = "",
    overwrite: bool = False,
    workers: int = 1,
    images: int = 24,
    **options: Any,
) -> dict[str, Any]:
    """Builds the data set of fitted bodies, and writes `fit_report.json` into its folder and the page.

    Args:
        name: of the data set with keypoints, with "/configuration" where it has several.
        data_dir: where data sets are.
        new_name: of the new data set; "": NAME_fitted, a slash as an underscore.
        overwrite: replace a data set that is there already, once the new one is finished.
        workers: processes, on CPUs; 1: this one, on the accelerator if there is one.
        images: how many people are drawn of those accepted, and of those left out.
        **options: of `FittedRecords`: body, camera, sigma, fewest, offset, splits.

    Returns:
        The report: split: people read, kept, and dropped by reason; quantiles of the residuals.

    Raises:
        FileExistsError: it is there already.
        FileNotFoundError: there is no such data set, or no such body.
        ValueError: an option is of no use, or a split has not a single good person.
        BlockingIOError: another process is fitting it.
    """
    import_tensorflow()
    from data_pipelines.builders.formats.fitted_records import FittedRecords

    home = resolved(data_dir)
    find_version(home, name)
    new_name = new_name or f"{name.replace('/', '_')}_fitted"
    page = Path(str(home)) / f"{new_name}.html"
    if not overwrite and not page.exists() and (finished := list((home / new_name).glob("*/build_report.json"))):
        counts = json.loads(finished[0].read_text())  # of a run that was interrupted while it drew the page
    else:
        settings = {"source": name, "new_name": new_name, **options}
        counts = build_with(FittedRecords, new_name, home, home, overwrite, workers, settings)
    body = options.get("body", "default")
    readers = {split: RecordReader(home, new_name, split) for split in counts}
    residuals = {split: residuals_of(reader, load_labelled_bodies(body)) for split, reader in readers.items()}
    report = {
        split: counts[split] | {"accepted": counts[split]["kept"] / counts[split]["read"], **_quantiles(found)}
        for split, found in residuals.items()
    }
    (find_version(home, new_name) / "fit_report.json").write_text(json.dumps(report, indent=2) + "\n")
    blocks: list[Block] = []
    for split, found in residuals.items():
        blocks += _part(split, report[split], found)
        if images:
            blocks.append(Gallery(f"Accepted, the best first: {split}", _accepted(readers[split], found, images, body)))
    if images:
        builder = FittedRecords(data_dir=home, source=name, new_name=new_name, **options)
        for split, reader in readers.items():
            if left_out := _left_out(builder, RecordReader(home, name, split), _keys(reader), images):
                drawn = drawn_records([record for record, _ in left_out], len(left_out), body)
                reasons = [f"{reason} ({key})" for (_, reason), (key, _) in zip(left_out, drawn, strict=True)]
                pictures = [picture for _, picture in drawn]
                blocks.append(Gallery(f"Left out: {split}", list(zip(reasons, pictures, strict=True))))
    about = f"Bodies fitted to the keypoints of {name}. Left: keypoints; right: the fitted body."
    write_report(page, new_name, blocks, about)
    print(f"{page}\n{_summary(report)}")
    return report


def residuals_of(reader: RecordReader, bodies: LabelledBodies) -> dict[str, np.ndarray]:
    """Medians of each record's distances from its keypoints to those of its body, in the order of the records.

    Returns:
        "px": (N,) px of the original image; "box": (N,) per cent of the box; NaN for records that cannot be read.
    """
    found: dict[str, list[float]] = {"px": [], "box": []}
    for records in _batches(reader):
        good = [record for record in records if record is not None]
        if good:
            pose = np.stack([np.concatenate([r["smpl/global_orient"], r["smpl/body_pose"]]) for r in good])
            betas, place, camera = (
                np.stack([r[name] for r in good]) for name in ("smpl/betas", "smpl/translation", "camera/intrinsics")
            )
            points = bodies.keypoints("n", pose, betas, place)
            seen = np.stack([record["keypoints_2d"] for record in good])
            distances = iter(np.nanmedian(offsets(seen, points, camera), 1))
        for record in records:
            px = np.nan if record is None else float(next(distances))
            box, scale = (np.nan, np.nan) if record is None else (float(record["box/size"]), _original_px(record))
            found["px"].append(px * scale)
            found["box"].append(100 * px / box)
    return {unit: np.array(values) for unit, values in found.items()}


def _batches(reader: RecordReader) -> Iterator[list[Record | None]]:
    """All records in order, None for those that cannot be read."""
    for start in range(0, len(reader), _TOGETHER):
        records: list[Record | None] = []
        for index in range(start, min(start + _TOGETHER, len(reader))):
            try:
                records.append(reader[index])
            except BadRecord:
                records.append(None)
        yield records


def _original_px(record: Record) -> float:
    """Px of the original image in a px of the stored one."""
    return float(record["image/source_box"][2] - record["image/source_box"][0]) / record["image/width"]


def _quantiles(found: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    names = {"px": "distance, px of the original image", "box": "distance, % of the box"}
    return {
        names[unit]: {f"{100 * q:g} %": float(np.nanquantile(values, q)) for q in QUANTILES}
        for unit, values in found.items()
    }


def _part(split: str, report: dict[str, Any], found: dict[str, np.ndarray]) -> list[Block]:
    """The page's figures about a split."""
    box, px = (report[name]["50 %"] for name in ("distance, % of the box", "distance, px of the original image"))
    numbers = {
        f"people of {split}": f"{report['read']:,}",
        "accepted": f"{100 * report['accepted']:.1f} %",
        "median distance": f"{box:.2f} % of the box, {px:.1f} px",
    }
    rows = [("accepted", report["kept"])]
    rows += [(f"left out: {reason}", number) for reason, number in report["dropped"].items()]
    rows += [(f"noted: {what}", number) for what, number in report.get("noted", {}).items()]
    charts = []
    for unit, title in (("box", "% of the box"), ("px", "px of the original image")):
        counts, edges = np.histogram(found[unit][np.isfinite(found[unit])], _BINS)
        labels = [f"{middle:.3g}" for middle in (edges[1:] + edges[:-1]) / 2]
        charts.append((title, column_chart(labels, counts.astype(float).tolist())))
    note = "Of each person: the median distance of the keypoints from those of the fitted body, drawn with its camera."
    return [
        Numbers(numbers),
        Table(f"People: {split}", ("what became of them", "number"), rows),
        Charts(f"Distances of the accepted: {split}", charts, note),
    ]


def _accepted(
    reader: RecordReader, found: dict[str, np.ndarray], count: int, body: str
) -> list[tuple[str, np.ndarray]]:
    """Captions and pictures of people from the smallest to the largest distance, evenly spread."""
    order = np.argsort(found["box"])[: np.isfinite(found["box"]).sum()]
    chosen = order[np.unique(np.linspace(0, len(order) - 1, count).astype(int))]
    drawn = drawn_records([reader[int(index)] for index in chosen], len(chosen), body)
    distances = found["box"][chosen]
    return [(f"{distance:.2f} %: {key}", picture) for distance, (key, picture) in zip(distances, drawn, strict=True)]


def _keys(reader: RecordReader) -> set[str]:
    return {record["key"] for records in _batches(reader) for record in records if record is not None}


def _left_out(builder: Any, reader: RecordReader, kept: set[str], count: int) -> list[tuple[Record, str]]:
    """The first people that are not among the kept, fitted again, and why they are not."""
    out: list[Record] = []
    for records in _batches(reader):
        out += [record for record in records if record is not None and record["key"] not in kept]
        if len(out) >= count:
            break
    fitted = builder.fit(out[:count])
    return [(one.record, one.reason or "a key that was used before, or a problem of the record") for one in fitted]


def _summary(report: dict[str, Any]) -> str:
    lines = []
    for split, part in report.items():
        box, px = part["distance, % of the box"], part["distance, px of the original image"]
        lines.append(
            f"{split:>12}: {100 * part['accepted']:.1f} % accepted; median distances of the keypoints: half of the "
            f"people below {box['50 %']:.2f} % of the box ({px['50 %']:.1f} px), nine in ten below "
            f"{box['90 %']:.2f} % ({px['90 %']:.1f} px)"
        )
    return "\n".join(lines)


def main(
    name: Positional[Annotated[str, arg(metavar="NAME")]],
    data_dir: str = "data",
    new_name: str = "",
    body: str = "default",
    camera: Camera = Rules.camera,
    sigma: float = Rules.sigma,
    fewest: int = Rules.fewest,
    offset: float = Rules.offset,
    splits: tuple[str, ...] = SPLITS,
    images: int = 24,
    workers: int = 1,
    overwrite: bool = False,
) -> None:
    """Fits bodies to the keypoints of a data set; the result is a data set of its own, and a page about it.

    Args:
        name: of the data set with keypoints, with /configuration where it has several.
        data_dir: where data sets are, on a disk or at gs://.
        new_name: of the new data set; by default NAME_fitted.
        body: "default", or folder or file of the SMPL bodies.
        camera: of records that have none: that of the original image by a usual lens, or HMR2.0's.
        sigma: standard deviation of a keypoint, in units of the box.
        fewest: keypoints of a person, at least.
        offset: largest median distance of the keypoints from the body's, in units of the box.
        splits: that are fitted, as far as they are there.
        images: people that are drawn of those accepted, and of those left out.
        workers: processes on CPUs; 1: this one, on the accelerator if there is one.
        overwrite: replace a data set that is there already.
    """
    rules = {"camera": camera, "sigma": sigma, "fewest": fewest, "offset": offset}
    try:
        fit(name, data_dir, new_name, overwrite, workers, images, body=body, splits=splits, **rules)
    except KeyboardInterrupt:
        sys.exit("Interrupted; the same command goes on with what is finished.")


if __name__ == "__main__":
    cli.run(main, "python -m data_pipelines.fit")
