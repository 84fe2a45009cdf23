"""Find the network in a state dict whose names were lengthened: data-parallel, compiled, averaged, or part of a module.

Only what is unambiguous is stripped: one place in the names below which a known network is, and nothing beside it.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from hmr_jax.weights.state import State

# Parts of names that wrappers put in, at any depth; no network here has them.
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_COUNTERS = {"n_averaged", "num_updates", "decay", "initted", "step"}  # of averaged weights
_DEEPEST = 4  # parts of a prefix that is looked for


class Unwrapped(NamedTuple):
    """A state with the names that its network has."""

    state: State
    originals: dict[str, str]
    """The names in the file, by those in `state`."""
    stripped: str
    """What was stripped from the names, for messages; empty if nothing was."""
    dropped: dict[str, str]
    """Names in the file of tensors that are not in `state`, and why."""


def unwrap(
    state: State, identify: Callable[[State], str | None], prefix: str | None = None, only: bool = False
) -> Unwrapped:
    """Strips what wrappers added to the names.

    Args:
        state: names in the file to arrays.
        identify: gives the kind of a network, or None.
        prefix: the place of the network, if the user states it; what is elsewhere is dropped.
        only: drop what is beside the network.

    Raises:
        ValueError: several networks are in it, or something beside the network, or nothing under `prefix`.
    """
    dropped = {name: "counter of averaged weights" for name in state if _is_counter(name, state)}
    kept = [name for name in state if name not in dropped]
    originals = {_without_wrappers(name): name for name in kept}
    stripped = sorted({f"{part}." for name in kept for part in name.split(".")[:-1] if part in _WRAPPERS})
    if len(originals) < len(kept):  # two names became one: there are two networks
        originals, stripped = {name: name for name in kept}, []
    place = _place(originals, identify, prefix, only)
    stripped += [place] if place else []
    dropped |= {old: f"not under '{place}'" for name, old in originals.items() if not name.startswith(place)}
    originals = {name.removeprefix(place): old for name, old in originals.items() if name.startswith(place)}
    named = {name: state[old] for name, old in originals.items()}
    return Unwrapped(named, originals, " and ".join(f"'{part}'" for part in stripped), dropped)


def _without_wrappers(name: str) -> str:
    *parts, last = name.split(".")
    return ".".join([*(part for part in parts if part not in _WRAPPERS), last])


def _is_counter(name: str, state: State) -> bool:
    return name.split(".")[-1] in _COUNTERS and getattr(state[name], "size", 1) == 1


def _place(names: Mapping[str, str], identify: Callable, prefix: str | None, only: bool) -> str:
    """The prefix of the network's names."""

    def under(start: str) -> dict[str, str]:
        return {name.removeprefix(start): name for name in names if name.startswith(start)}

    if prefix:
        start = _without_wrappers(prefix.strip(".") + ".")
        if not under(start):
            tops = sorted({name.split(".")[0] for name in names})
            raise ValueError(f"The checkpoint has no names that start with '{prefix}', but with {', '.join(tops[:8])}.")
        return start
    if identify(names) is not None:
        return ""
    starts = {
        ".".join(parts[:count]) + "."
        for parts in (name.split(".")[:-1] for name in names)
        for count in range(1, min(len(parts), _DEEPEST) + 1)
    }
    places: list[str] = []
    for start in sorted(starts, key=lambda start: (start.count("."), start)):
        if not start.startswith(tuple(places)) and identify(under(start)) is not None:
            places.append(start)
    if len(places) > 1:
        raise ValueError(
            f"The checkpoint holds several networks, under {' and '.join(map(repr, places))}: choose one with --prefix."
        )
    beside = [name for name in names if not name.startswith(tuple(places))]
    if places and beside and not only:
        raise ValueError(
            f"The checkpoint holds a network under '{places[0]}' and more beside it ({', '.join(beside[:3])}): give "
            f"--prefix {places[0]} to take the network alone."
        )
    return places[0] if places else ""
