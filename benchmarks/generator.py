"""How fast synthetic people are made: `python benchmarks/generator.py`.

Prints images per second of wall-clock time and the processor time of one image, which other jobs do not distort.
"""

import argparse
import time

from data_pipelines.synthetic.people import SyntheticPeople


def main() -> None:
    """Measures the sizes asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 224, 256])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--workers", type=int, default=0, help="threads; 0: one per core")
    options = parser.parse_args()
    for size in options.sizes:
        people = SyntheticPeople(size=size, workers=options.workers)
        start = time.perf_counter()
        people.batch(range(options.batch))
        first = time.perf_counter() - start
        wall, processor = time.perf_counter(), time.process_time()
        for number in range(options.batches):
            people.batch(range(number * options.batch, (number + 1) * options.batch))
        count = options.batch * options.batches
        rate = count / (time.perf_counter() - wall)
        cost = (time.process_time() - processor) / count
        print(f"{size:4d} px: {rate:6.1f} images/s, {1e3 * cost:5.1f} ms of processor each, first batch {first:.1f} s")
        people.close()


if __name__ == "__main__":
    main()
