"""What the devices of a compiled program send each other."""

import math
import re
from collections.abc import Mapping

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8}
_OPERATION = re.compile(rf"= (.*?) ({'|'.join(KINDS)})(?:-start)?\(")
_ARRAY = re.compile(rf"\b({'|'.join(_BYTES)})\[([\d,]*)\]")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.-]+) \(.*\{$")
_WHILE = re.compile(r" while\(.*body=%?([\w.-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


def collective_bytes(program: str) -> dict[str, int]:
    """Bytes of the results of the collective operations that one device takes part in, by kind.

    Args:
        program: the text of a compiled program (`Compiled.as_text`). Loops of a known length count as often as they
            run, others once.
    """
    sums: dict[str, dict[str, int]] = {}
    loops: dict[str, list[tuple[str, int]]] = {}
    name = ""
    for line in program.splitlines():
        if start := _COMPUTATION.match(line):
            name = start[1]
        elif found := _OPERATION.search(line):
            own = sums.setdefault(name, {})
            own[found[2]] = own.get(found[2], 0) + _size(found[1])
        elif loop := _WHILE.search(line):
            trips = _TRIPS.search(line)
            loops.setdefault(name, []).append((loop[1], int(trips[1]) if trips else 1))
    inside = {body for bodies in loops.values() for body, _ in bodies}
    total: dict[str, int] = {}
    for root in (sums.keys() | loops.keys()) - inside:
        for kind, size in _with_loops(root, sums, loops).items():
            total[kind] = total.get(kind, 0) + size
    return total


def _with_loops(
    name: str, sums: Mapping[str, dict[str, int]], loops: Mapping[str, list[tuple[str, int]]]
) -> dict[str, int]:
    total = dict(sums.get(name, {}))
    for body, trips in loops.get(name, []):
        for kind, size in _with_loops(body, sums, loops).items():
            total[kind] = total.get(kind, 0) + trips * size
    return total


def _size(result: str) -> int:
    return sum(
        _BYTES[kind] * math.prod(int(length) for length in shape.split(",") if length)
        for kind, shape in _ARRAY.findall(result)
    )
