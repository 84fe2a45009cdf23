"""What a build reads, keeps and drops, and why; and how far it has come."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from data_pipelines.records import Record, nest, problems


@dataclass
class Report:
    """Counts of one build."""

    read: Counter[str] = field(default_factory=Counter)
    """Split: rows read."""
    dropped: dict[str, Counter[str]] = field(default_factory=dict)
    """Split: reason: rows dropped. A row with several problems counts under the first."""

    def keep(
        self, split: str, records: Iterable[Record | str], total: int | None = None
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Passes good records on in the form that TFDS writes, counts, and shows a progress bar.

        Args:
            split: That the records belong to.
            records: Records, and for a row that made none, the reason.
            total: How many rows there will be, if known.
        """
        for record in tqdm(records, desc=split, total=total, unit=" rows", mininterval=1):
            self.read[split] += 1
            reasons = [record] if isinstance(record, str) else problems(record)
            if reasons:
                self.dropped.setdefault(split, Counter())[reasons[0]] += 1
            else:
                yield record["key"], nest(record)

    def as_dict(self) -> dict[str, Any]:
        """Split: rows read, kept, and dropped by reason; for JSON."""
        dropped = {split: self.dropped.get(split, Counter()) for split in self.read}
        return {
            split: {"read": read, "kept": read - dropped[split].total(), "dropped": dict(dropped[split].most_common())}
            for split, read in self.read.items()
        }

    def __str__(self) -> str:
        lines = []
        for split, counts in self.as_dict().items():
            lines.append(f"{split:>12}: {counts['read']} read, {counts['kept']} kept")
            lines += [f"{'':>14}{number} dropped: {reason}" for reason, number in counts["dropped"].items()]
        return "\n".join(lines)
