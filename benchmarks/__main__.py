"""All measurements of speed, one after another, each in its own process: `make bench`, `--quick` for shorter networks.

Those beside another implementation stand in one run with it and have a required ratio; the others measure ours alone.
"""

import argparse
import subprocess
import sys

BESIDE = ("sampling", "skinning", "encoder", "decoder", "cnn", "depth", "weights", "rle", "loaders")
ALONE = ("generator", "pipeline", "inference", "prediction", "fitting")
PARTS = BESIDE + ALONE


def main() -> None:
    """Runs the parts asked for; fails if one of them fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=PARTS, help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="8 of the encoder's 32 blocks, HRNet-W40 for W64")
    options = parser.parse_args()
    failed = []
    for part in options.parts:
        print(f"\n=== {part}", flush=True)
        arguments = ["--quick"] if part in ("encoder", "cnn", "weights") and options.quick else []
        if subprocess.run([sys.executable, "-m", f"benchmarks.{part}", *arguments], check=False).returncode:
            failed.append(part)
    if failed:
        sys.exit(f"These parts failed, see above: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
