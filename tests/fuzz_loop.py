"""The command of the fuzzers that draw an example from a seed: all but fuzz.py."""

import argparse
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

FIRST = 10**6  # no seed of the tests


def answer(
    kind: str, seed: int, call: Callable[[], Any], errors: tuple[type[Exception], ...] = (ValueError, FileNotFoundError)
) -> tuple[Any, str]:
    """The result of an example and "", or None and the sentence with which it was refused.

    Args:
        kind: of the example.
        seed: of the example; both are printed before any other error is raised.
        call: gives the result.
        errors: that refuse.
    """
    try:
        return call(), ""
    except errors as error:
        message = str(error.args[0] if isinstance(error, KeyError) else error)
    except BaseException:
        print(f"{kind}, seed {seed}", file=sys.stderr)
        raise
    assert message, (kind, seed)
    assert "\n" not in message, (kind, seed, message)
    return None, message


def run_for_minutes(description: str | None, kinds: Iterable[str], one: Callable[[str, int], bool]) -> None:
    """Checks examples of each kind until the time is over, and prints how many had a result, and how memory grew.

    Args:
        description: of the command.
        kinds: of examples.
        one: checks the example of a kind and a seed; whether it had a result rather than an error.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--kinds", default="", help="those to check, with commas between them; all, if not given")
    parser.add_argument("--first", type=int, default=FIRST, help="first seed")
    given, known = parser.parse_args(), list(kinds)
    kinds = given.kinds.split(",") if given.kinds else known
    if unknown := set(kinds) - set(known):
        parser.error(f"there is no kind {', '.join(sorted(unknown))}; choose some of {', '.join(known)}")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end, seed, results = time.time() + 60 * given.minutes, given.first, Counter[str]()
    while time.time() < end:
        for kind in kinds:
            results[kind] += one(kind, seed)
        seed += 1
    count = seed - given.first
    shares = ", ".join(f"{kind} {found / count:.0%}" for kind, found in results.items())
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
    print(f"{count} examples of each kind; with a result: {shares}; memory grew by {grown:.0f} MiB")
