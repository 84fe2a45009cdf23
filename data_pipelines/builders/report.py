"""What a build reads, keeps and drops, and why; and its progress."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from data_pipelines.records import DOUBTS, Record, nest, problems
from hmr_jax.body.joints import PELVIS_44

DUPLICATE = "key: used before"
NO_ROOT = "3-D keypoints without the root (pelvis, or both hips): root-relative losses and metrics cannot use them"


def key_number(key: str) -> int:
    """A hash of a key, 64 bits, of which millions fit into memory."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


@dataclass
class Report:
    """Counts of one build."""

    read: Counter[str] = field(default_factory=Counter)
    """Split: rows read."""
    dropped: dict[str, Counter[str]] = field(default_factory=dict)
    """Split: reason: rows dropped. A row with several problems counts under the first."""
    depth: dict[str, Counter[str]] = field(default_factory=dict)
    """Split: result of the search for estimated depth: people; empty where none was asked for."""
    keys: dict[str, dict[int, None]] = field(default_factory=dict)
    """Split: `key_number` of the records kept, in their order."""
    noted: dict[str, Counter[str]] = field(default_factory=dict)
    """Split: what is to be known about records that were kept: people."""

    def keep(
        self,
        split: str,
        records: Iterable[Record | str],
        total: int | None = None,
        progress: bool = True,
        doubtful: bool = False,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Passes good records on in the form that TFDS writes, counts, and shows a progress bar.

        Args:
            split: of the records.
            records: for each row the record, or the reason why there is none.
            total: how many rows there will be, if known.
            progress: show the bar.
            doubtful: keep records whose only problems are in `records.DOUBTS` and mark them, as for a test split, whose
                people all count.
        """
        keys = self.keys.setdefault(split, {})
        for record in tqdm(records, desc=split, total=total, unit=" rows", mininterval=1, disable=not progress):
            self.read[split] += 1
            reason = record if isinstance(record, str) else self._problem(record, doubtful)
            if not reason and not isinstance(record, str):
                number = key_number(record["key"])
                if number not in keys:
                    keys[number] = None
                    self._note(split, record)
                    yield record["key"], nest(record)
                    continue
                reason = DUPLICATE
            self.drop(split, reason)

    def _problem(self, record: Record, doubtful: bool) -> str:
        """Why a record is not kept, or ""; where doubtful ones are kept, their doubt is written into them."""
        found = problems(record)
        serious = [reason for reason in found if reason not in DOUBTS]
        if not doubtful:
            return (found or [record["doubt"]])[0]
        if found and not serious:
            record["doubt"] = record["doubt"] or found[0]
        return serious[0] if serious else ""

    def _note(self, split: str, record: Record) -> None:
        noted = self.noted.setdefault(split, Counter())
        if record["doubt"]:
            noted[f"doubtful, but kept: {record['doubt']}"] += 1
        if record["keypoints_3d"][:, 3].any() and not record["keypoints_3d"][PELVIS_44, 3]:
            noted[NO_ROOT] += 1

    def drop(self, split: str, reason: str, count: int = 1) -> None:
        """Counts rows that were read and are not kept."""
        self.dropped.setdefault(split, Counter())[reason] += count

    def add(self, counts: Mapping[str, Any]) -> None:
        """Adds the counts of another report's `as_dict`."""
        for split, part in counts.items():
            self.read[split] += part["read"]
            for reason, count in part["dropped"].items():
                self.drop(split, reason, count)
            for counters, name in ((self.depth, "depth"), (self.noted, "noted")):
                if name in part:
                    counters.setdefault(split, Counter()).update(part[name])

    def as_dict(self) -> dict[str, Any]:
        """Split: rows read, kept and dropped by reason, what is noted, and depth if it was asked for; for JSON."""
        dropped = {split: self.dropped.get(split, Counter()) for split in self.read}
        return {
            split: {"read": read, "kept": read - dropped[split].total(), "dropped": _in_order(dropped[split])}
            | ({"noted": _in_order(self.noted[split])} if self.noted.get(split) else {})
            | ({"depth": _in_order(self.depth[split])} if split in self.depth else {})
            for split, read in self.read.items()
        }

    def __str__(self) -> str:
        lines = []
        for split, counts in self.as_dict().items():
            lines.append(f"{split:>12}: {counts['read']} read, {counts['kept']} kept")
            lines += [f"{'':>14}{number} dropped: {reason}" for reason, number in counts["dropped"].items()]
            lines += [f"{'':>14}{number} noted: {what}" for what, number in counts.get("noted", {}).items()]
            lines += [f"{'':>14}{number} depth: {what}" for what, number in counts.get("depth", {}).items()]
        return "\n".join(lines)


def _in_order(counts: Counter[str]) -> dict[str, int]:
    """The largest first, equal ones by name: the same in whatever order blocks were finished."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
