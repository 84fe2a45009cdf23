"""A data set whose records have keypoints, with bodies fitted to them: records in, records out.

    <manual>/NAME/VERSION         the data set of records, as `python -m data_pipelines.build` leaves it

`python -m data_pipelines.fit NAME` is the command.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from etils import epath

from data_pipelines.builders.base import Block, RecordBuilder
from data_pipelines.builders.labels.fits import Fitted, RecordFitter, Rules
from data_pipelines.random_streams import SPLITS
from data_pipelines.records import Record
from data_pipelines.records.reader import BadRecord, MissingSplit, RecordReader, find_version
from data_pipelines.records.storage import file_state
from hmr_jax.body.labelled import load_labelled_bodies

BLOCK_PEOPLE = 256
"""Of a shard: what a build that is killed has to do again."""
AT_ONCE = 64
"""Records that are fitted together."""
MISTAKEN = "keypoints far from the body, now absent"
HMR2_CAMERA = "camera: HMR2.0's, as the size of the original image is not known"


class FittedRecords(RecordBuilder):
    """Records with bodies, of records with keypoints."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = "Build the data set of keypoints first."
    DESCRIPTION = "A data set of keypoints with fitted bodies."
    EVALUATED = ()  # fitted bodies are no truth: none is kept in spite of doubts

    def __init__(
        self,
        *,
        source: str,
        new_name: str,
        body: str = "default",
        camera: str = Rules.camera,
        sigma: float = Rules.sigma,
        fewest: int = Rules.fewest,
        offset: float = Rules.offset,
        splits: tuple[str, ...] = SPLITS,
        **kwargs: Any,
    ):
        """Sets what is fitted.

        Args:
            source: name of the data set with the keypoints, with "/configuration" where it has several.
            new_name: of the new data set.
            body: "default", or where the SMPL bodies are, of which the neutral one is fitted.
            camera: see `Rules`.
            sigma: see `Rules`.
            fewest: see `Rules`.
            offset: see `Rules`.
            splits: that are fitted, as far as they are there.
            **kwargs: see `RecordBuilder`.

        Raises:
            ValueError: see `Rules`.
        """
        self.name = new_name
        super().__init__(**kwargs)
        self.source, self.splits = source, splits
        self._body, self._rules = body, Rules(camera, sigma, fewest, offset)  # type: ignore[arg-type]

    def blocks(self, manual_dir: epath.Path) -> dict[str, list[Block]]:
        info = str(find_version(manual_dir, self.source) / "dataset_info.json")  # changes with the data set
        found: dict[str, list[Block]] = {}
        for split in self.splits:
            try:
                count = len(RecordReader(manual_dir, self.source, split))
            except MissingSplit:
                continue
            found[split] = [(info, start, min(start + BLOCK_PEOPLE, count)) for start in range(0, count, BLOCK_PEOPLE)]
        return found

    def rows(self, split: str, block: Block) -> Iterator[Record | str]:
        reader = _reader(str(self.manual_dir), self.source, split, file_state(str(block[0])))
        start, stop = int(block[1]), int(block[2])
        for first in range(start, stop, AT_ONCE):
            records, unreadable = [], 0
            for number in range(first, min(first + AT_ONCE, stop)):
                try:
                    records.append(reader[number])
                except BadRecord:
                    unreadable += 1
            yield from ["record: cannot be read"] * unreadable
            for fitted in self.fit(records):
                yield self._row(fitted)

    def fit(self, records: Sequence[Record]) -> list[Fitted]:
        """Fits records; those that hold a pose of this body already stay as they are."""
        fitter = _fitter(self._body, self._rules)
        known = [bool(record["smpl/has_pose"]) and record["topology"] == fitter.topology for record in records]
        fitted = iter(fitter([record for record, has in zip(records, known, strict=True) if not has]))
        return [Fitted(record) if has else next(fitted) for record, has in zip(records, known, strict=True)]

    def _row(self, fitted: Fitted) -> Record | str:
        record = fitted.record
        if fitted.reason:
            return fitted.reason
        if fitted.mistaken:
            self.note(MISTAKEN)
        if self._rules.camera == "default" and fitted.assumed and not record["image/source_size"].any():
            self.note(HMR2_CAMERA)
        return record | {"dataset": self.name}


@lru_cache(maxsize=3)
def _reader(directory: str, name: str, split: str, state: str) -> RecordReader:
    """One for a process, and another when the data set has changed."""
    return RecordReader(directory, name, split)


@lru_cache(maxsize=1)
def _fitter(body: str, rules: Rules) -> RecordFitter:
    """One for a process: its programs and its library of poses are made once."""
    return RecordFitter(load_labelled_bodies(body), rules)
