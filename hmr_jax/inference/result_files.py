"""Names of the result files of images, and those of earlier runs."""

import itertools
import os
import re
import unicodedata
from collections.abc import Container, Sequence
from pathlib import Path

_LONGEST = 220  # bytes of a name, of the 255 that file systems allow; the rest is for endings
_ENDINGS = (".json", ".npz", ".glb", ".obj", ".ply", ".html", "_overlay.png", "_turntable.webp")
_KINDS = ("sampling", "details")  # one file, or one a person: NAME_sampling.png, or NAME_sampling_0.png, ...
_RESULT = re.compile(rf"{'|'.join(map(re.escape, _ENDINGS))}|_({'|'.join(_KINDS)})(_\d+)?\.png")


def result_names(images: Sequence[Path]) -> list[str]:
    """Names of the results: the stem; of images that share one, all but the first by path get a number."""
    first: dict[str, int] = {}
    for i in sorted(range(len(images)), key=lambda i: images[i]):
        first.setdefault(_folded(images[i].stem), i)
    names = {i: images[i].stem for i in first.values()}
    taken = set(first)
    for i in sorted(set(range(len(images))) - set(names), key=lambda i: images[i]):
        candidates = (f"{images[i].stem}_{number}" for number in itertools.count(2))
        names[i] = next(name for name in candidates if _folded(name) not in taken)
        taken.add(_folded(names[i]))
    return [names[i] for i in range(len(images))]


def _folded(name: str) -> str:
    """Equal for names that some file systems take for the same."""
    return unicodedata.normalize("NFC", name).casefold()


def _is_result(file: str, name: str) -> bool:
    """Whether a file has the name of a result of the image whose results are called `name`."""
    return file.startswith(name) and _RESULT.fullmatch(file[len(name) :]) is not None


def is_too_long(name: str) -> bool:
    """Whether file systems take no results of this name."""
    return len(os.fsencode(name)) > _LONGEST


def results_of(output: Path, name: str) -> list[Path]:
    """The results of an image that are in a folder; numbered ones in their order."""
    if is_too_long(name):
        return []
    files = [output / f"{name}{ending}" for ending in _ENDINGS]
    for kind in _KINDS:
        files.append(output / f"{name}_{kind}.png")
        numbered = (output / f"{name}_{kind}_{number}.png" for number in itertools.count())
        files += itertools.takewhile(Path.exists, numbered)
    return [file for file in files if file.exists()]


def remove_results(output: Path, name: str, keep: Container[str] = ()) -> None:
    """Removes an image's results of an earlier run: their people, mesh and visualizations are not of this one."""
    for file in reversed(results_of(output, name)):  # the last number first: an interruption leaves no gap
        if file.name not in keep:
            file.unlink(missing_ok=True)


def check_no_image_is_a_result(images: Sequence[Path], names: Sequence[str], output: Path) -> None:
    """Raises ValueError if results would overwrite images, or images are results of an earlier run."""
    inside = [path for path in images if path.parent.resolve() == output.resolve()]
    stems = dict(zip(names, images, strict=True))
    for path in inside:
        # A result is called as its image and an ending, which begins at a dot or an underscore.
        for cut in [match.start() for match in re.finditer(r"[._]", path.name)]:
            if path.name[:cut] in stems and _is_result(path.name, path.name[:cut]):
                raise ValueError(
                    f"{path} is called as a result of {stems[path.name[:cut]]} in the same folder: "
                    "choose another folder for the results."
                )
