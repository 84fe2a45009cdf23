"""`python -m hmr_jax.protocols [NAME ...]`: prints the table of protocols, or all that is known of some."""

import textwrap
from collections.abc import Sequence
from typing import Annotated

from tyro.conf import Positional, arg

from hmr_jax import cli
from hmr_jax.protocols import PROTOCOLS, Protocol, get_protocol


def table(protocols: Sequence[Protocol]) -> str:
    """One line a protocol."""
    header = ["protocol", "data set", "split", "samples", "points", "regressor", "root", "truth", "metrics"]
    rows = [header]
    for p in protocols:
        truth = f"{p.gender} body" if p.truth == "body" else "keypoints"
        rows.append([
            p.name, p.dataset, p.split, f"{p.expected:,}" if p.expected else "any", str(len(p.joints)),
            p.regressor if p.space == "3d" else "-", p.root_name if p.root else "-", truth,
            ", ".join(p.label(name) for name in p.metrics),
        ])  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                     for row in rows)  # fmt: skip


def details(protocol: Protocol) -> str:
    """All that is known of one protocol."""
    lines = {
        "points": ", ".join(protocol.joint_names),
        "convention": protocol.source,
        "used by": protocol.used_by,
        "note": protocol.note,
    }
    text = [table([protocol]), ""]
    for name, value in lines.items():
        text += textwrap.wrap(f"{name}: {value}", 116, subsequent_indent="    ") if value else []
    return "\n".join(text)


def main(names: Positional[Annotated[tuple[str, ...], arg(metavar="NAME...")]] = ()) -> None:
    """Lists the evaluation protocols, or says all that is known of some.

    Args:
        names: of protocols; without one the table of all.
    """
    if names:
        print("\n\n".join(details(get_protocol(name)) for name in names))
    else:
        print(table(list(PROTOCOLS.values())))
        print("\nused by")
        for p in PROTOCOLS.values():
            line = f"{p.name}: {p.used_by}"
            print("\n".join(textwrap.wrap(line, 116, initial_indent="  ", subsequent_indent="      ")))
        print("\npython -m hmr_jax.protocols NAME says where a convention is from, and all its points.")


if __name__ == "__main__":
    cli.run(main, "python -m hmr_jax.protocols")
