"""Looks at a data set: `python -m data_pipelines.inspect NAME --data-dir O` writes one HTML page.

The page has counts, histograms, what the build dropped, and a contact sheet with keypoints and bodies drawn on the
images, on which labels of a wrong convention show.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import Positional, arg

from data_pipelines.records import Record
from data_pipelines.records.reader import BadRecord, MissingSplit, RecordReader, decode_person, find_version
from hmr_jax import cli
from hmr_jax.body.joints import KEYPOINTS_44, SMPL_24
from hmr_jax.rendering.charts import column_chart
from hmr_jax.rendering.page import Block, Charts, Gallery, Numbers, Table, write_report

SPLITS = ("train", "validation", "test")
BINS = 24


def inspect(
    name: str,
    data_dir: str | Path,
    out: str | Path | None = None,
    splits: Sequence[str] = SPLITS,
    body: str = "",
    records: int = 2000,
    images: int = 24,
) -> Path:
    """Writes the page.

    Args:
        name: of the data set, with "/configuration" where it has several.
        data_dir: where data sets are.
        out: the page; None: NAME.html in `data_dir`.
        splits: which to look at, as far as they are there.
        body: folder or file of the SMPL bodies that the labels mean; not needed for the built-in body.
        records: how many of each split are read, evenly spread.
        images: how many of each split are drawn.

    Returns:
        The path of the page.

    Raises:
        FileNotFoundError: there is no such data set.
        ValueError: none of the splits is there, or not a single record can be read.
    """
    readers = []
    for split in splits:
        try:
            readers.append(RecordReader(data_dir, name, split))
        except MissingSplit as error:
            missing = error
    if not readers:
        raise missing
    blocks: list[Block] = [Numbers({f"{reader.split} records": f"{len(reader):,}" for reader in readers})]
    if dropped := _dropped(find_version(Path(data_dir), name) / "build_report.json"):
        blocks.append(dropped)
    for reader in readers:
        chosen, unreadable = _read(reader, records)
        if not chosen:
            raise ValueError(f"Not one record of {name}/{reader.split} can be read: build it again.")
        of = f"{reader.split}, {len(chosen):,} of {len(reader):,} records"
        blocks.append(Numbers(_shares(chosen) | ({"unreadable": str(unreadable)} if unreadable else {})))
        blocks.append(_columns(f"Images and people: {of}", _sizes(chosen)))
        blocks.append(_columns(f"Bodies: {of}", _bodies(chosen)))
        blocks.append(Gallery(f"Contact sheet: {reader.split}", drawn_records(chosen, images, body)))
        blocks.append(Table(f"Keypoints: {of}", ("point", "2-D", "3-D", "typical error"), _keypoints(chosen), _NOTE))
    page = Path(out) if out else Path(data_dir) / f"{name.replace('/', '-')}.html"
    return write_report(page, name, blocks, "Left: keypoints; right: the body of the labels, drawn with their camera.")


def drawn_records(records: Sequence[Record], count: int, body: str = "") -> list[tuple[str, np.ndarray]]:
    """Captions and visualizations (H, 2 H, 3) uint8 of `count` records, evenly spread."""
    from data_pipelines.records.drawing import draw_record

    chosen = [records[i] for i in np.unique(np.linspace(0, len(records) - 1, count).astype(int))]
    drawn = []
    for record in chosen:
        try:
            drawn.append((record["key"], draw_record(record, decode_person(record, ("mask",)), body)))
        except BadRecord as error:
            drawn.append((f"{record['key']}: {error}", np.zeros((256, 512, 3), np.uint8)))
    return drawn


def _read(reader: RecordReader, count: int) -> tuple[list[Record], int]:
    """Records, evenly spread over the split, and how many of them cannot be read."""
    found, unreadable = [], 0
    for index in np.unique(np.linspace(0, len(reader) - 1, min(count, len(reader))).astype(int)):
        try:
            found.append(reader[index])
        except BadRecord:
            unreadable += 1
    return found, unreadable


def _dropped(path: Path) -> Table | None:
    """What the build read, kept and dropped."""
    if not path.exists():
        return None
    rows: list[tuple[str, str, int]] = []
    for split, counts in json.loads(path.read_text()).items():
        rows += [(split, "read", counts["read"]), (split, "kept", counts["kept"])]
        rows += [(split, f"dropped: {reason}", number) for reason, number in counts["dropped"].items()]
        rows += [(split, f"noted: {what}", number) for what, number in counts.get("noted", {}).items()]
        rows += [(split, f"depth: {what}", number) for what, number in counts.get("depth", {}).items()]
    return Table("The build", ("split", "rows", "number"), rows)


def _shares(records: Sequence[Record]) -> dict[str, str]:
    """The share of the records that have each kind of label."""
    count = len(records)

    def share(number: float) -> str:
        return f"{100 * number / count:.0f} %"

    shares = {
        "with pose": share(sum(record["smpl/has_pose"] for record in records)),
        "with betas": share(sum(record["smpl/has_betas"] for record in records)),
        "with translation": share(sum(record["smpl/has_translation"] for record in records)),
        "with intrinsics": share(sum(record["camera/has_intrinsics"] for record in records)),
        "with 3-D keypoints": share(sum(record["keypoints_3d"][:, 3].any() for record in records)),
        "with a mask": share(sum(bool(record["mask/encoded"]) for record in records)),
        "with depth": share(sum(record["depth/kind"] != "none" for record in records)),
    }
    for title, field in (("gender", "gender"), ("topology of the body", "topology")):
        found = Counter(record[field] or "none" for record in records).most_common()
        words = [name if number == count else f"{name} {share(number)}" for name, number in found]
        shares[title] = ", ".join(words)
    return shares


def _columns(title: str, charts: Mapping[str, tuple[list[str], list[float]]]) -> Charts:
    return Charts(title, [(caption, column_chart(*bars)) for caption, bars in charts.items()])


def _sizes(records: Sequence[Record]) -> dict[str, tuple[list[str], list[float]]]:
    factor = np.array([_original_px(record) for record in records])
    box = np.array([float(record["box/size"]) for record in records])
    return {
        "side of the box, px of the original image": _histogram(box * factor),
        "side of the box, px of the stored image": _histogram(box),
        "side of the stored image, px": _histogram(np.array([record["image/width"] for record in records])),
        "size of the stored image, kB": _histogram(np.array([len(r["image/encoded"]) for r in records]) / 1e3),
        "visible 2-D keypoints of a person": _histogram(
            np.array([(record["keypoints_2d"][:, 2] > 0).sum() for record in records]), 0, 44
        ),
        "px of the original image in a stored px": _histogram(factor),
    }


def _bodies(records: Sequence[Record]) -> dict[str, tuple[list[str], list[float]]]:
    charts = {}
    posed = [record for record in records if record["smpl/has_pose"]]
    if posed:
        pose = np.stack([record["smpl/body_pose"] for record in posed]).reshape(len(posed), 23, 3)
        root = np.stack([record["smpl/global_orient"] for record in posed])
        angles = np.degrees(np.linalg.norm(pose, axis=2))
        spread = np.degrees(np.sqrt(pose.var(0).sum(1)))
        charts["mean angle of each joint, degrees"] = (list(SMPL_24[1:]), angles.mean(0).tolist())
        charts["spread of each joint's rotations, degrees"] = (list(SMPL_24[1:]), spread.tolist())
        charts["tilt of the body from upright, degrees"] = _histogram(_tilt(root), 0, 180)
    shaped = [record["smpl/betas"] for record in records if record["smpl/has_betas"]]
    if shaped:
        betas = np.stack(shaped)
        charts["first beta"] = _histogram(betas[:, 0])
        charts["root mean square of each beta"] = ([f"{i}" for i in range(10)], np.sqrt((betas**2).mean(0)).tolist())
    depths = [record["smpl/translation"][2] for record in records if record["smpl/has_translation"]]
    if depths:
        charts["distance from the camera, m"] = _histogram(np.array(depths))
    if drawn := _with_camera(records):
        medians = [100 * float(np.nanmedian(error)) / float(record["box/size"]) for error, record in drawn]
        charts["3-D keypoints drawn with the camera: distance from the 2-D ones, % of the box"] = _histogram(
            np.array(medians), 0, max(1.0, float(np.percentile(medians, 99.5)))
        )
    return charts


def _with_camera(records: Sequence[Record]) -> list[tuple[np.ndarray, Record]]:
    """`reprojection` of the records for which it is known, with the records."""
    return [(error, record) for record in records if (error := reprojection(record)) is not None]


_NOTE = (
    "Share of the records with the point. Typical error: median distance of the 3-D point, drawn with the record's "
    "camera, from the 2-D one, in px of the stored image; only where both are there and 3-D is absolute."
)


def _keypoints(records: Sequence[Record]) -> list[tuple[str, str, str, str]]:
    in_2d = np.stack([record["keypoints_2d"][:, 2] > 0 for record in records]).mean(0)
    in_3d = np.stack([record["keypoints_3d"][:, 3] > 0 for record in records]).mean(0)
    errors = np.array([error for error, _ in _with_camera(records)]).reshape(-1, 44)
    rows = []
    for number, name in enumerate(KEYPOINTS_44):
        known = errors[np.isfinite(errors[:, number]), number]
        typical = f"{np.median(known):.2f} px" if len(known) else ""
        rows.append((name, f"{100 * in_2d[number]:.0f} %", f"{100 * in_3d[number]:.0f} %", typical))
    return rows


def reprojection(record: Record) -> np.ndarray | None:
    """(44,) px from each 2-D keypoint to its 3-D one drawn with the camera, NaN where one is absent.

    None where there is no camera, or the 3-D keypoints are relative to the root.
    """
    keypoints_2d, keypoints_3d = record["keypoints_2d"], record["keypoints_3d"].astype(np.float64)
    known = keypoints_3d[:, 3] > 0
    both = known & (keypoints_2d[:, 2] > 0)
    if not record["camera/has_intrinsics"] or not both.any() or (keypoints_3d[known, 2] < 0.1).any():
        return None
    points = keypoints_3d[:, :3] @ record["camera/intrinsics"].T.astype(np.float64)
    distance = np.linalg.norm(points[:, :2] / np.where(both, points[:, 2], 1)[:, None] - keypoints_2d[:, :2], axis=1)
    return np.where(both, distance, np.nan)


def _original_px(record: Record) -> float:
    return float(record["image/source_box"][2] - record["image/source_box"][0]) / record["image/width"]


def _tilt(root: np.ndarray) -> np.ndarray:
    """(N, 3) global orientations -> (N,) degrees between the body's up and the image's."""
    from scipy.spatial.transform import Rotation

    up = Rotation.from_rotvec(root).as_matrix()[:, 1, 1]
    return np.degrees(np.arccos(np.clip(-up, -1, 1)))  # camera axes: y is down


def _histogram(
    values: np.ndarray, low: float | None = None, high: float | None = None
) -> tuple[list[str], list[float]]:
    """Labels and counts of bins; the outermost half per cent on either side counts in the last bins."""
    low = float(np.percentile(values, 0.5)) if low is None else low
    high = float(np.percentile(values, 99.5)) if high is None else high
    if high - low <= 1e-3 * abs(high):
        return [f"{low:.4g}"], [float(len(values))]
    edges = np.linspace(low, high, BINS + 1)
    counts, _ = np.histogram(np.clip(values, low, high), edges)
    return [f"{middle:.3g}" for middle in (edges[1:] + edges[:-1]) / 2], counts.astype(float).tolist()


def main(
    name: Positional[Annotated[str, arg(metavar="NAME")]],
    data_dir: str = "data",
    out: str | None = None,
    splits: tuple[str, ...] = SPLITS,
    body: str = "",
    records: int = 2000,
    images: int = 24,
) -> None:
    """Writes an HTML page about a data set: counts, charts, what the build dropped, and drawn labels.

    Args:
        name: of the data set, with /configuration where it has several.
        data_dir: where data sets are.
        out: the page; by default NAME.html in the data folder.
        splits: which to look at, as far as they are there.
        body: folder or file of the SMPL bodies of the labels.
        records: how many of each split are read.
        images: how many of each split are drawn.
    """
    print(inspect(name, data_dir, out, splits, body, records, images))


if __name__ == "__main__":
    cli.run(main, "python -m data_pipelines.inspect")
