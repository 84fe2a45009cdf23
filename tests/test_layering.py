"""The map of the code: imports go down only, nothing goes in a circle, rooms stay small, importing is cheap.

docs/architecture.md describes the same layers in words.
"""

import ast
import gc
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From the bottom up. A room imports rooms of earlier layers, and of its own layer only those that are named behind it.
LIBRARY: list[dict[str, set[str]]] = [
    {"batch": set(), "config": set(), "io": {"geometry"}, "geometry": set(), "ops": {"io"}},
    {"cli": set(), "runtime": set()},
    {"body": set(), "rendering": set(), "losses": {"body"}, "metrics": {"losses"}},
    {"models": set(), "protocols": set()},
    {"checkpoints": set(), "weights": {"checkpoints"}},
    {"depth": set(), "detection": set(), "distributed": set(), "export": set()},
    {"evaluation": set(), "inference": set()},
    {"training": set(), "video": set()},
]
DATA: list[dict[str, set[str]]] = [
    {"random_streams": set(), "records": set()},
    {"loading": set()},
    {"synthetic": set()},
    {"builders": set()},
    {
        "mixtures": set(),
        "sources": set(),
        "build": set(),
        "inspect": set(),
        "fit": {"build", "inspect"},
        "precompute_depth": set(),
    },
]
# What records and generators need of the library: neither models nor training.
DATA_MAY_IMPORT = {"batch", "config", "io", "geometry", "cli", "runtime", "body", "rendering", "depth", "checkpoints"}
FOREIGN = {"tensorflow", "tensorflow_datasets", "torch", "chumpy"}  # never in the library
PACKAGES = ("hmr_jax", "data_pipelines")
ABOVE = ("hmr_commands", "configs", "examples", "tools", "benchmarks", "tests")  # nothing imports these but themselves


def python_files(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, wherever in it; "a.b" for `from a import b`."""
    gc.disable()  # JAX hooks into collections, and Python 3.11's parser fails when one happens in it
    try:
        tree = ast.parse(path.read_text())
    finally:
        gc.enable()
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def module_file(name: str) -> Path | None:
    """The file of the longest part of a dotted name that is a module of this project."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        base = ROOT.joinpath(*parts[:length])
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None


def room(path: Path) -> str:
    """The entry of its package that a file is in."""
    return path.relative_to(ROOT).parts[1].removesuffix(".py")


FILES = {package: python_files(package) for package in PACKAGES}
IMPORTS = {path: imports(path) for files in FILES.values() for path in files}


def used_rooms(path: Path, package: str) -> set[str]:
    names = {name.split(".")[1] for name in IMPORTS[path] if name.startswith(f"{package}.")}
    return names - {"__version__"}


@pytest.mark.parametrize(("package", "layers"), [("hmr_jax", LIBRARY), ("data_pipelines", DATA)])
def test_imports_go_down_only(package, layers):
    level = {name: number for number, names in enumerate(layers) for name in names}
    wrong = []
    for path in FILES[package]:
        own = room(path)
        if own == "__init__":
            assert not used_rooms(path, package), f"importing {package} must import nothing else"
            continue
        for used in used_rooms(path, package) - {own}:
            beside = used in layers[level[own]].get(own, set())
            if level[used] > level[own] or (level[used] == level[own] and not beside):
                wrong.append(f"{path.relative_to(ROOT)} imports {used}")
    assert not wrong, "\n".join(wrong)


def test_every_room_has_its_layer():
    for package, layers in (("hmr_jax", LIBRARY), ("data_pipelines", DATA)):
        assert {room(path) for path in FILES[package]} - {"__init__"} == {name for names in layers for name in names}


def test_the_library_knows_neither_data_pipelines_nor_frameworks_that_it_does_not_need():
    for path in FILES["hmr_jax"]:
        roots = {name.split(".")[0] for name in IMPORTS[path]}
        assert not roots & (FOREIGN | {"data_pipelines"}), path


def test_data_pipelines_know_no_models():
    for path in FILES["data_pipelines"]:
        unwanted = used_rooms(path, "hmr_jax") - DATA_MAY_IMPORT
        assert not unwanted, f"{path} imports {unwanted}"


def test_nothing_imports_what_stands_above():
    for path, names in IMPORTS.items():
        roots = {name.split(".")[0] for name in names}
        assert not roots & set(ABOVE), path
    for folder in ABOVE[:-1]:
        for path in python_files(folder):
            assert "tests" not in {name.split(".")[0] for name in imports(path)}, path


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Groups of more than one node that reach each other (Tarjan 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = lowest[node] = len(number)
        stack.append(node)
        for other in arrows.get(node, ()):
            if other not in number:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in stack:
                lowest[node] = min(lowest[node], number[other])
        if lowest[node] == number[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in arrows:
        if node not in number:
            visit(node)
    return found


def file_arrows() -> dict[str, set[str]]:
    arrows: dict[str, set[str]] = {}
    every = [path for folder in (*PACKAGES, *ABOVE) for path in python_files(folder)]
    for path in every:
        targets = {module_file(name) for name in imports(path)} - {None, path}
        arrows[str(path.relative_to(ROOT))] = {str(target.relative_to(ROOT)) for target in targets if target}
    return arrows


def test_no_files_import_each_other_in_a_circle():
    assert not circles(file_arrows())


def test_no_folders_import_each_other_in_a_circle():
    """Folders side by side, at every depth."""
    arrows = file_arrows()
    depth = max(len(Path(name).parts) for name in arrows)
    for length in range(1, depth):
        between: dict[str, set[str]] = {}
        for name, targets in arrows.items():
            own = "/".join(Path(name).parts[: length + 1])
            for target in targets:
                other = "/".join(Path(target).parts[: length + 1])
                same_parent = Path(name).parts[:length] == Path(target).parts[:length]
                if other != own and same_parent:
                    between.setdefault(own, set()).add(other)
        found = [group for group in circles(between) if any(not name.endswith(".py") for name in group)]
        assert not found, found


def test_the_circle_finder_finds_circles():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert not circles({"a": {"b", "c"}, "b": {"c"}})


def entries(folder: Path) -> list[str]:
    hidden = {"__pycache__", "__init__.py", "py.typed", "assets"}
    return sorted(path.name for path in folder.iterdir() if path.name not in hidden and not path.name.startswith("."))


def test_rooms_stay_small():
    assert len(entries(ROOT / "hmr_jax")) <= 23, entries(ROOT / "hmr_jax")  # 22, and `export` beside `checkpoints`
    folders = {path.parent for path in FILES["data_pipelines"]}
    crowded = {str(folder): len(entries(folder)) for folder in folders if len(entries(folder)) > 12}
    assert not crowded


def test_no_module_bears_a_standard_librarys_name():
    for path in (*FILES["hmr_jax"], *FILES["data_pipelines"]):
        name = path.parent.name if path.stem == "__init__" else path.stem
        entry = path.relative_to(ROOT).as_posix() == "data_pipelines/inspect.py"  # `python -m data_pipelines.inspect`
        loose = path.parent.name in PACKAGES and path.stem != "__init__"
        assert entry or not loose or name not in sys.stdlib_module_names, path


CHEAP = ["hmr_jax", "hmr_jax.training", "hmr_jax.inference", "data_pipelines.synthetic.source"]


@pytest.mark.parametrize("module", CHEAP)
def test_importing_needs_no_tensorflow(module):
    code = f"import sys, {module}; assert not {{'tensorflow', 'tensorflow_datasets', 'torch'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_importing_the_package_is_free():
    code = "import time; t = time.perf_counter(); import hmr_jax; assert time.perf_counter() - t < 0.5"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_no_file_is_long():
    long = {str(path): n for path in IMPORTS if (n := len(path.read_text().splitlines())) > 320}
    assert not long
