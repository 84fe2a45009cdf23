"""The command of the fuzzers that draw an example from a seed: fuzz_inputs.py, fuzz_labels.py and fuzz_configs.py."""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterable

FIRST = 10**6  # no seed of the tests


def run_for_minutes(description: str | None, kinds: Iterable[str], one: Callable[[str, int], bool]) -> None:
    """Checks examples of each kind until the time is over, and prints how many had a result.

    Args:
        description: of the command.
        kinds: of examples.
        one: checks the example of a kind and a seed; whether it had a result rather than an error.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--minutes", type=float, default=10)
    end, seed, results = time.time() + 60 * parser.parse_args().minutes, FIRST, Counter[str]()
    while time.time() < end:
        for kind in kinds:
            results[kind] += one(kind, seed)
        seed += 1
    shares = ", ".join(f"{kind} {count / (seed - FIRST):.0%}" for kind, count in results.items())
    print(f"{seed - FIRST} examples of each kind; with a result: {shares}")
