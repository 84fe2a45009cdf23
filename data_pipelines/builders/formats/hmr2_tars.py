"""HMR2.0's training data (Goel et al., ICCV 2023): 4D-Humans' webdataset tars, one configuration for each of its sets.

    <manual>/<folder of the set>/%06d.tar

A sample of a tar is an image (jpg, jpeg or png), `data.pyd`, a pickled list of people, and often `detection.npz` with
masks. Pickles go through the whitelist reader: nothing in them is executed.
"""

import io
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from data_pipelines.builders.base import Block, RecordBuilder
from data_pipelines.builders.formats.tar_stream import DamagedTar, read_masks, samples
from data_pipelines.builders.labels.hmr2_filters import Filters, load_prior
from data_pipelines.builders.labels.keypoints import clip_confidence
from data_pipelines.builders.labels.source_images import open_image
from data_pipelines.records import Record
from hmr_jax.body.labelled import load_labelled_bodies
from hmr_jax.io import safe_pickle

IMAGE_ENDINGS = ("jpg", "jpeg", "png")
# Images of AI Challenger that are known to be broken.
CORRUPT = (
    "0a047f0124ae48f8eee15a9506ce1449ee1ba669", "1a703aa174450c02fbc9cfbf578a5435ef403689",
    "0394e6dc4df78042929b891dbc24f0fd7ffb6b6d", "5c032b9626e410441544c7669123ecc4ae077058",
    "ca018a7b4c5f53494006ebeeff9b4c0917a55f07", "4a77adb695bef75a5d34c04d589baf646fe2ba35",
    "a0689017b1065c664daef4ae2d14ea03d543217e", "39596a45cbd21bed4a5f9c2342505532f8ec5cbb",
    "3d33283b40610d87db660b62982f797d50a7366b",
)  # fmt: skip
SHAPES = {"keypoints_2d": (44, 3), "keypoints_3d": (44, 4), "center": (2,), "body_pose": (72,), "betas": (10,)}


class TarSet(NamedTuple):
    """One part of 4D-Humans' training data (its datasets_tar.yaml); its tars are numbered from 0."""

    title: str
    folder: str
    tars: int
    epoch: int
    """Examples in an epoch of it by HMR2.0's count."""
    split: str = "train"
    broken: tuple[int, ...] = ()
    """Tars that TokenHMR leaves out as broken uploads."""

    @property
    def range(self) -> str:
        return f"{{000000..{self.tars - 1:06d}}}.tar"


HMR2_SETS = {
    "h36m": TarSet("H36M-TRAIN-WMASK", "h36m-train", 313, 314_000),
    "mpii": TarSet("MPII-TRAIN-WMASK", "mpii-train", 10, 100_000),
    "coco": TarSet("COCO-TRAIN-2014-WMASK-PRUNED", "coco-train-2014-pruned", 18, 18_000),
    "coco_vitpose": TarSet("COCO-TRAIN-2014-VITPOSE-REPLICATE-PRUNED12", "coco-train-2014-vitpose-pruned", 45, 45_000),
    "mpi_inf": TarSet("MPI-INF-TRAIN-PRUNED", "mpi-inf-train-pruned", 7, 12_000),
    "ava": TarSet("AVA-TRAIN-MIDFRAMES-1FPS-WMASK", "ava-train-midframes-1fps-vitpose", 93, 200_000),
    "aic": TarSet("AIC-TRAIN-WMASK", "aic-train-vitpose", 105, 200_000),
    "insta": TarSet(
        "INSTA-TRAIN-WMASK", "insta-train-vitpose-replicate", 3658, 4_000_000, broken=tuple(range(2994, 3001))
    ),
    "coco_val": TarSet("COCO-VAL", "coco-val", 1, 0, split="validation"),
}
"""Configuration of `hmr2_tars`: set."""


class Hmr2Tars(RecordBuilder):
    """4D-Humans' training tars, one configuration for each set."""

    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name=name, description=f"{part.title}, tars {part.folder}/{part.range}.")
        for name, part in HMR2_SETS.items()
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Get hmr2_training_data.tar.gz of 4D-Humans (github.com/shubham-goel/4D-Humans) and give its dataset_tars "
        f"folder: it has {', '.join(part.folder for part in HMR2_SETS.values())}, each with %06d.tar."
    )
    DESCRIPTION = "The training data of HMR2.0: images of many sets with SMPL fits, 44 keypoints and masks."
    HOMEPAGE = "https://github.com/shubham-goel/4D-Humans"

    def __init__(
        self,
        *,
        body: str = "",
        masks: bool = True,
        confidence: float = Filters.confidence,
        max_beta: float = Filters.max_beta,
        pose_prior: str = "",
        min_keypoints: int = Filters.min_keypoints,
        max_reprojection_loss: float = Filters.max_reprojection_loss,
        regularize_betas: bool = True,
        skip: tuple[int, ...] | None = None,
        **kwargs: Any,
    ):
        """Sets what is kept.

        Args:
            body: source of SMPL's bodies, which checks heights; "default" for labels of the built-in body; "": SMPL's,
                unchecked.
            masks: store the masks.
            confidence: see `hmr2_filters.Filters`, also for the next five.
            max_beta: shapes with a larger coefficient count as absent.
            pose_prior: file of the prior, or "".
            min_keypoints: people with fewer keypoints are dropped.
            max_reprojection_loss: people whose fit has a larger loss are dropped.
            regularize_betas: absent shapes become average ones.
            skip: numbers of tars to leave out; None: those that TokenHMR found broken.
            **kwargs: see `RecordBuilder`.
        """
        super().__init__(**kwargs)
        self.body, self.topology = body, load_labelled_bodies(body).topology if body else "smpl"
        self.masks, self.skip = masks, skip
        self.filters = Filters(confidence, max_beta, pose_prior, min_keypoints, max_reprojection_loss, regularize_betas)

    def blocks(self, manual_dir: epath.Path) -> dict[str, list[Block]]:
        part = HMR2_SETS[self.builder_config.name]
        if self.filters.pose_prior:
            load_prior(self.filters.pose_prior)  # a wrong file fails now
        else:
            print("Option pose_prior is not given: poses are not checked against HMR2.0's prior.")
        skip = set(part.broken if self.skip is None else self.skip)
        folder = manual_dir / part.folder
        paths = [folder / f"{number:06d}.tar" for number in range(part.tars) if number not in skip]
        there = [path for path in paths if path.exists()]
        if there and len(there) < len(paths):
            print(f"{len(paths) - len(there)} of {len(paths)} tars of {folder} are missing and left out.")
        return {part.split: [(str(path),) for path in there]}

    def rows(self, split: str, block: Block) -> Iterator[Record | str]:
        path = epath.Path(block[0])
        with path.open("rb") as file:
            try:
                for key, contents in samples(file):
                    yield from self._image(path.parent, f"{path.stem}/{key}", contents)
            except DamagedTar:
                yield "tar: cut short or damaged"

    def _image(self, folder: epath.Path, key: str, contents: dict[str, bytes]) -> Iterator[Record | str]:
        """The people of an image, whose path is that of the tar unpacked into a folder of its name: folder/key."""
        encoded = next((contents[kind] for kind in IMAGE_ENDINGS if kind in contents), None)
        if key.rpartition("/")[2] in CORRUPT:
            yield "key: known to be corrupt"
            return
        if encoded is None or "data.pyd" not in contents:
            yield "sample: without image or labels"
            return
        people, image = _read_people(contents["data.pyd"]), open_image(encoded, path=folder / key, exif=self.exif)
        if isinstance(people, str) or isinstance(image, str):
            yield people if isinstance(people, str) else str(image)
            return
        parsed = [_parse(person) for person in people]
        masks = self._masks(parsed, contents)
        for number, person in enumerate(parsed):
            kept = person if isinstance(person, str) else self.filters(person)
            if isinstance(kept, str):
                yield kept
                continue
            row = kept["mask_row"]
            if isinstance(masks, str) and row is not None:
                yield masks
                continue
            yield self.person(
                image,
                key=f"{key}-{kept['id'] if kept['id'] is not None else number}",
                box_center=kept["center"],
                box_size=kept["size"],
                box_extent=kept["extent"],
                keypoints_2d=kept["keypoints_2d"],
                keypoints_3d=kept["keypoints_3d"],
                pose=kept["pose"] if kept["has_pose"] else None,
                betas=kept["betas"] if kept["has_betas"] else None,
                topology=self.topology,
                mask=masks.get(row) if isinstance(masks, dict) else None,
            )

    def _masks(self, people: list, contents: dict[str, bytes]) -> dict[int, np.ndarray] | str:
        """Row: mask (H, W); or the reason why the masks cannot be read."""
        if not self.masks or "detection.npz" not in contents:
            return {}
        rows = [person["mask_row"] for person in people if not isinstance(person, str)]
        try:
            return read_masks(contents["detection.npz"], [row for row in rows if row is not None and row >= 0])
        except ValueError:
            return "mask: damaged detection.npz"


def _read_people(pickled: bytes) -> list[Any] | str:
    """The labels of a sample, one item a person, or what is wrong with them."""
    try:
        people = safe_pickle.load(io.BytesIO(pickled))
    except safe_pickle.RefusedPickleError:
        return "labels: pickle with unsafe names refused"
    except ValueError:
        return "labels: damaged pickle"
    return people if isinstance(people, list) else "labels: not a list of people"


def _parse(person: Any) -> dict[str, Any] | str:
    """The labels of a person as plain arrays, or what is wrong with them."""
    if not isinstance(person, dict):
        return "labels: a person is not a dictionary"
    try:
        arrays = {name: np.asarray(person[name], np.float64).reshape(shape) for name, shape in SHAPES.items()}
        scale = np.asarray(person["scale"], np.float64).reshape(-1)
        flags = {name: float(np.asarray(person[f"has_{name}"])) > 0 for name in ("body_pose", "betas")}
        extra = person.get("extra_info") or {}
        loss = extra.get("fitting_loss")
        loss = loss.item() if isinstance(loss, np.ndarray) and loss.ndim == 0 else loss
        loss = loss.get("reprojection_loss") if isinstance(loss, dict) else None
        row, number = extra.get("detection_npz_idx"), person.get("personid")
        row, number = (None if value is None else int(np.asarray(value)) for value in (row, number))
        loss = None if loss is None else float(np.asarray(loss))
    except KeyError as error:
        return f"labels: no {error.args[0]}"
    except (ValueError, TypeError, AttributeError, OverflowError):
        return "labels: of another shape or type"
    for name in ("keypoints_2d", "keypoints_3d"):
        arrays[name] = clip_confidence(arrays[name])
    for name, array in (*arrays.items(), ("scale", scale)):
        if not np.isfinite(array).all():
            return f"{name}: not finite"
    return {
        "keypoints_2d": arrays["keypoints_2d"],
        "keypoints_3d": arrays["keypoints_3d"],
        "center": arrays["center"],
        "size": 200 * np.max(scale),
        "extent": 200 * scale[[0, -1]],
        "pose": arrays["body_pose"],
        "betas": arrays["betas"],
        "has_pose": flags["body_pose"],
        "has_betas": flags["betas"],
        "reprojection_loss": loss,
        "mask_row": row,
        "id": number,
    }
