"""What a build reads, keeps and drops, and why; and its progress."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from data_pipelines.records import Record, nest, problems

DUPLICATE = "key: used before"


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

    def keep(
        self, split: str, records: Iterable[Record | str], total: int | None = None, progress: bool = True
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Passes good records on in the form that TFDS writes, counts, and shows a progress bar.

        Args:
            split: of the records.
            records: for each row the record, or the reason why there is none.
            total: how many rows there will be, if known.
            progress: show the bar.
        """
        keys = self.keys.setdefault(split, {})
        for record in tqdm(records, desc=split, total=total, unit=" rows", mininterval=1, disable=not progress):
            self.read[split] += 1
            reasons = [record] if isinstance(record, str) else problems(record)
            if not reasons and not isinstance(record, str):
                number = key_number(record["key"])
                if number not in keys:
                    keys[number] = None
                    yield record["key"], nest(record)
                    continue
                reasons = [DUPLICATE]
            self.drop(split, reasons[0])

    def drop(self, split: str, reason: str, count: int = 1) -> None:
        """Counts rows that were read and are not kept."""
        self.dropped.setdefault(split, Counter())[reason] += count

    def add(self, counts: Mapping[str, Any]) -> None:
        """Adds the counts of another report's `as_dict`."""
        for split, part in counts.items():
            self.read[split] += part["read"]
            for reason, count in part["dropped"].items():
                self.drop(split, reason, count)
            if "depth" in part:
                self.depth.setdefault(split, Counter()).update(part["depth"])

    def as_dict(self) -> dict[str, Any]:
        """Split: rows read, kept and dropped by reason, and the counts of depth if it was asked for; for JSON."""
        dropped = {split: self.dropped.get(split, Counter()) for split in self.read}
        return {
            split: {"read": read, "kept": read - dropped[split].total(), "dropped": dict(dropped[split].most_common())}
            | ({"depth": dict(self.depth[split].most_common())} if split in self.depth else {})
            for split, read in self.read.items()
        }

    def __str__(self) -> str:
        lines = []
        for split, counts in self.as_dict().items():
            lines.append(f"{split:>12}: {counts['read']} read, {counts['kept']} kept")
            lines += [f"{'':>14}{number} dropped: {reason}" for reason, number in counts["dropped"].items()]
            lines += [f"{'':>14}{number} depth: {what}" for what, number in counts.get("depth", {}).items()]
        return "\n".join(lines)
