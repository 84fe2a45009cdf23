"""The documentation is true where a machine can tell: commands parse, links and names lead somewhere, code runs."""

import dataclasses
import re
from pathlib import Path

import command_lines
import documented
import pytest
from command_lines import WrongCommand
from documented import ROOT, Piece

import hmr_jax
from hmr_commands import program
from hmr_jax.config import Config
from tools import docs_figures, docs_pages

COMMANDS = documented.every_command()
MADE = {"runs", "data", "quickstart", "quickstart_d2a", "site", "build", "dist"}  # by commands; not in the repository
TOP = {path.name for path in ROOT.iterdir()} - MADE


# ----------------------------------------------------------------------------------------------------------- commands


def test_every_documented_command_is_one_that_its_program_takes():
    wrong = []
    for command in COMMANDS:
        try:
            command_lines.check(command.text, mention=not command.language)
        except WrongCommand as error:
            wrong.append(f"{command}\n    {error}")
    assert not wrong, "\n".join(wrong)


def test_commands_are_found_where_they_stand():
    """In shell blocks, in inline code, in headers of configurations and in tutorials, of every kind."""
    found = {(command.page, command.text) for command in COMMANDS}
    assert ("README.md", "make quickstart") in found
    assert ("configs/hmr2.py", "python train.py --config configs/hmr2.py --model.body SMPL_NEUTRAL.npz --init-from "
            "weights/vitpose_h") in found  # fmt: skip
    assert (
        "docs/tutorials/evaluate.md",
        "python eval.py --checkpoint runs/quickstart --data data --report report",
    ) in (found)
    assert any(page == "configs/deforhmr_paper.py" and "hmr2_tars/h36m" in text for page, text in found)
    assert any(page == "configs/deforhmr_small.py" and text.endswith("--loss.depth 0") for page, text in found)
    for name in program.COMMANDS:
        assert any(text.startswith(f"hmr {name}") for _, text in found), name


RIGHT = [
    "python train.py --config configs/NAME.py [--FIELD VALUE ...]",
    "HMR_JAX_DEBUG=1 hmr train --config quickstart --model.uncertainty",
    "python -m data_pipelines.build hmr2_tars/PART --manual-dir D --data-dir data --workers N --option confidence=0.3",
    "python -m benchmarks.ablations --steps 300 --seeds 3",
    "python -m tools.quickstart d2a --steps 3",
    "make quickstart PYTHON=python3.12",
    "pip install 'hmr_jax[train,onnx]'",
]
WRONG = [
    ("python train.py --config configs/quickstart.py --optim.learning-rat 3e-4", "learning-rat"),
    ("python train.py --config configs/quickstart.py --model.uncertainty True", "True"),
    ("python train.py --config configs/hmr2.py --decoder.queries multi", "decoder.queries"),
    ("python train.py --config configs/quikstart.py", "did you mean configs/quickstart.py"),
    ("python trian.py --config configs/quickstart.py", "no script trian.py"),
    ("python eval.py --checkpoints runs/a", "--checkpoints"),
    ("python eval.py --checkpoint runs/a --protocol 3dpw-j14-pelvs", "3dpw-j14-pelvis"),
    ("python predict.py photo.jpg --axis opencv", "--axis"),
    ("hmr trian --config quickstart", "did you mean train"),
    ("python -m data_pipelines.build three_dwp --manual-dir D", "three_dpw"),
    ("python -m data_pipelines.build emdb/emdb3 --manual-dir D", "no part 'emdb3'"),
    ("python -m data_pipelines.build emdb/emdb1 --manual-dir D --option boddy=SMPL", "no option boddy"),
    ("python -m data_pipelines.builder emdb", "no program data_pipelines.builder"),
    ("python -m hmr_jax.weights.convert vitpose-h.pth", "--to"),
    ("python -m benchmarks.ablation --steps 3", "no program benchmarks.ablation"),
    ("python -m benchmarks.ablations --step-count 3", "--step-count"),
    ("python -m tools.quickstart --stepz 3", "--stepz"),
    ("make quickstrat", "no target quickstrat"),
    ("pip install '.[trian]'", "no extra trian"),
    ("python -m pytest tests/test_nothing.py", "no tests/test_nothing.py"),
    ("rm -rf runs", "no program that the documentation may use"),
]


@pytest.mark.parametrize("line", RIGHT)
def test_right_commands_pass_the_check(line):
    command_lines.check(line)


@pytest.mark.parametrize(("line", "message"), WRONG)
def test_wrong_commands_fail_the_check(line, message):
    with pytest.raises(WrongCommand, match=re.escape(message)):
        command_lines.check(line)


def test_options_in_the_text_exist():
    """`--examples`, `--data.three-dpw 0.1`: options of some command; fields of a configuration with good values."""
    sources = [path.read_text() for folder in ("benchmarks", "tools") for path in (ROOT / folder).glob("*.py")]
    named = set(
        re.findall(r"--[a-z][\w.-]*", docs_pages.commands() + "".join(re.findall(r'"--[\w-]+"', "".join(sources))))
    )
    wrong = []
    for piece in documented.every_inline_code():
        option, *values = piece.text.partition("=")[0].split() if piece.text.startswith("--") else [""]
        if not option or option.startswith("--xla_") or option == "--FIELD":
            continue
        field = option[2:].split(".")[0].replace("-", "_") in {field.name for field in dataclasses.fields(Config)}
        try:
            if field and values and "." in option:
                program.parse(["train", "--config", "quickstart", *piece.text.split()])
            elif option not in named and not (field and documented.has_field(option[2:].replace("-", "_"))):
                wrong.append(str(piece))
        except ValueError as error:
            wrong.append(f"{piece}\n    {error}")
    assert not wrong, "\n".join(wrong)


# --------------------------------------------------------------------------------------------------- names and links


def test_every_link_leads_somewhere():
    wrong = []
    for page, text in documented.pages().items():
        for link in documented.links(page, text):
            path, _, anchor = link.text.partition("#")
            target = (ROOT / page).parent.joinpath(path).resolve() if path else ROOT / page
            if re.match(r"[a-z]+:", path):
                continue
            inside = str(target.relative_to(ROOT)) if target.is_relative_to(ROOT) else ""
            if not target.exists() or not inside:
                wrong.append(f"{link} does not exist")
            elif anchor and anchor not in documented.anchors(documented.pages()[inside]):
                wrong.append(f"{link} has no such heading")
    assert not wrong, "\n".join(wrong)


def test_every_file_that_is_named_exists():
    wrong = []
    for piece in documented.every_inline_code():
        name = piece.text.removesuffix("/")
        if not re.fullmatch(r"\.?[\w.-]+(/[\w.-]+)*", name) or re.search(r"\b[A-Z]{3,}\b", Path(name).stem):
            continue
        first, is_path = name.split("/")[0], "/" in name
        looks_own = first in TOP if is_path else name.endswith((".py", ".md", ".toml", ".cff"))
        if looks_own and not (ROOT / name).exists():
            wrong.append(f"{piece} does not exist")
        if is_path and first not in TOP and (ROOT / "hmr_jax" / name).exists():
            wrong.append(f"{piece}: write hmr_jax/{name}")
    assert not wrong, "\n".join(wrong)


def test_every_module_and_object_that_is_named_exists():
    wrong = []
    for piece in documented.every_inline_code():
        name = piece.text.partition("(")[0]
        if re.fullmatch(r"(hmr_jax|data_pipelines|hmr_commands)(\.\w+)+", name) and not documented.resolves(name):
            wrong.append(str(piece))
    for page, text in documented.pages().items():
        for module in re.findall(r"^::: (\S+)$", text, re.MULTILINE):
            if not documented.resolves(module):
                wrong.append(f"{page}: {module}")
    assert not wrong, "\n".join(wrong)


def test_every_field_that_is_named_exists():
    wrong = []
    for piece in documented.every_inline_code():
        name = piece.text.partition(" ")[0]
        if name != "model.safetensors" and re.fullmatch(
            r"(model|loss|optim|data|mesh|checkpoint|decoder|encoder|d2a)\.[a-z]\w*(\.\w+)*", name
        ):
            long = f"model.{name}" if name.split(".")[0] in ("decoder", "encoder", "d2a") else name
            if not documented.has_field(long):
                wrong.append(str(piece))
    assert not wrong, "\n".join(wrong)


def test_pages_that_the_code_names_exist():
    wrong = []
    for folder in ("hmr_jax", "data_pipelines", "hmr_commands", "configs", "examples", "tools", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            names = re.findall(r"\bdocs/[\w/]+\.md", path.read_text())
            wrong += [f"{path.relative_to(ROOT)}: {name}" for name in names if not (ROOT / name).exists()]
    assert not wrong, "\n".join(wrong)


def test_environment_variables_are_those_that_the_code_reads():
    sources = [
        path for folder in ("hmr_jax", "data_pipelines", "hmr_commands") for path in (ROOT / folder).rglob("*.py")
    ]
    read = {name for path in sources for name in re.findall(r"\bHMR_JAX_[A-Z_]+\b", path.read_text())}
    assert read == set(re.findall(r"\bHMR_JAX_[A-Z_]+\b", (ROOT / "docs/reference/environment.md").read_text()))


# ---------------------------------------------------------------------------------------------------------------- code


def test_blocks_have_a_known_language():
    assert not [str(block) for block in documented.every_block() if block.language not in documented.LANGUAGES]


PYTHON = [block for block in documented.every_block() if block.language.startswith("python")]


def test_every_python_block_compiles():
    for block in PYTHON:
        compile(block.text, f"{block.page}:{block.line}", "exec")


@pytest.mark.parametrize("block", [block for block in PYTHON if "exec" in block.language], ids=lambda b: b.page)
def test_blocks_marked_as_examples_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block.text, f"{block.page}:{block.line}", "exec"), {"__name__": "example"})


def test_pieces_of_a_page_are_found():
    page = "`a b`, `c\nd`.\n\n```bash\nmake x  # why\nhmr y \\\n  --z\n```\n\n    indented --w\n\n- item\n\n    of it\n"
    made = list(documented.blocks("p", page))
    assert [(block.line, block.language) for block in made] == [(4, "bash"), (10, "bash")]
    assert [command.text for block in made for command in documented.commands(block)] == [
        "make x", "hmr y --z", "indented --w",
    ]  # fmt: skip
    assert list(documented.inline_code("p", page)) == [Piece("p", 1, "a b"), Piece("p", 1, "c d")]
    loop = Piece("p", 1, "for part in a b; do\n    build x/$part\ndone", "bash")
    assert [command.text for command in documented.commands(loop)] == ["build x/a"]


# ---------------------------------------------------------------------------------------------------------- whole site


def test_every_page_is_in_the_navigation():
    named = set(re.findall(r"([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert named == {str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*.md")}


@pytest.mark.parametrize("name", docs_figures.FIGURES)
def test_figures_are_what_the_code_draws(name):
    drawn = docs_figures.FIGURES[name]().svg()
    assert (docs_figures.IMAGES / f"{name}.svg").read_text() == drawn, "draw again: python -m tools.docs_figures"


def test_every_field_of_the_configuration_is_documented():
    table = docs_pages.fields()
    assert "| `optim.learning_rate` | Peak learning rate. | `0.0001` |" in table
    assert "| `model.d2a.depth_encoder.name` |" in table
    assert "## data.augment\n\nAugmentation of HMR2.0" in table


def test_the_architecture_has_a_row_for_every_room():
    text = (ROOT / "docs" / "architecture.md").read_text()
    for package, table in (("hmr_jax", "LIBRARY"), ("data_pipelines", "DATA")):
        rows = re.findall(r"^\| (\d) \| (.*?) \|", text, re.MULTILINE)
        found = {
            (name, int(layer)) for layer, cell in rows for name in re.findall(rf"`{package}/(\w+)(?:\.py)?`", cell)
        }
        layers = docs_figures.layer_tables()[table]
        assert found == {(name, number) for number, names in enumerate(layers, 1) for name in names}


def test_every_public_room_of_the_library_has_a_page_of_reference():
    shown = "\n".join(text for page, text in documented.pages().items() if page.startswith("docs/reference/api/"))
    rooms = {name for names in docs_figures.layer_tables()["LIBRARY"] for name in names} - {"cli", "runtime", "io"}
    missing = {room for room in rooms if not re.search(rf"^::: hmr_jax\.{room}\b", shown, re.MULTILINE)}
    assert not missing


def test_versions_agree():
    assert f"version: {hmr_jax.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {hmr_jax.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_examples_are_scripts_in_percent_format_with_a_page_each():
    for path in (ROOT / "examples").glob("*.py"):
        kinds = [markdown for markdown, _ in docs_pages.cells(path.read_text())]
        assert kinds[0], "the first cell is text"
        assert False in kinds, "there is code"
        assert f"script examples/{path.name}" in (ROOT / "docs" / "tutorials" / f"{path.stem}.md").read_text()
