"""Draws the figures of the documentation as SVG: `python -m tools.docs_figures`.

Three figures in docs/images: the layers of the code, out of the tables of tests/test_layering.py; DeforHMR and
D2A-HMR, with the sizes of configs/deforhmr_paper.py and configs/d2a_hmr_paper.py. Coordinates are pixels, y down.
"""

import argparse
import ast
from collections.abc import Sequence
from html import escape
from pathlib import Path

from configs.d2a_hmr_paper import get_config as d2a_config
from configs.deforhmr_paper import get_config as deforhmr_config

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
FILLS = {
    "data": "#eceff1",
    "network": "#d6e4ff",
    "frozen": "#e3f6fb",
    "body": "#dcf3df",
    "loss": "#ffe8cc",
}
LINE = 15


class Figure:
    """Boxes, arrows and words on a white card."""

    def __init__(self, width: int, height: int, title: str):
        self.size, self.title = (width, height), title
        self._parts: list[str] = []

    def box(self, x: float, y: float, width: float, height: float, text: str, kind: str = "network") -> None:
        """A rounded box; the first line of its text is bold, the others are smaller."""
        dash = ' stroke-dasharray="5 3"' if kind == "frozen" else ""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" fill="{FILLS[kind]}" '
            f'stroke="#455a64"{dash}/>'
        )
        lines = text.split("\n")
        first = y + height / 2 - (len(lines) - 1) * LINE / 2 + 4.5
        for number, line in enumerate(lines):
            self.words(x + width / 2, first + number * LINE, line, "bold" if number == 0 else "small")

    def frame(self, x: float, y: float, width: float, height: float, text: str) -> None:
        """A dashed frame around several boxes, with its name at the top left."""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="10" fill="none" stroke="#90a4ae" '
            'stroke-dasharray="6 4"/>'
        )
        self.words(x + 10, y + 17, text, "small", "start")

    def words(self, x: float, y: float, text: str, style: str = "small", anchor: str = "middle") -> None:
        """One line of text."""
        self._parts.append(f'<text x="{x:g}" y="{y:g}" class="{style}" text-anchor="{anchor}">{escape(text)}</text>')

    def arrow(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """A line through points, with a head at the last one."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(f'<polyline points="{path}" fill="none" stroke="#455a64"{dash} marker-end="url(#head)"/>')

    def svg(self) -> str:
        """The file."""
        width, height = self.size
        head = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" aria-label="{escape(self.title)}">',
            "<style>text{font-family:Helvetica,Arial,sans-serif;fill:#263238}.bold{font-size:13px;font-weight:600}"
            ".small{font-size:11.5px}</style>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0 8 4 0 8z" fill="#455a64"/></marker></defs>',
            f'<rect width="{width}" height="{height}" rx="12" fill="#ffffff"/>',
        ]
        return "\n".join([*head, *self._parts, "</svg>", ""])


def deforhmr() -> Figure:
    """DeforHMR at the size of its configuration."""
    model = deforhmr_config().model
    encoder, decoder = model.encoder, model.decoder
    height, width = encoder.image_size
    rows, columns = height // encoder.patch_size, width // encoder.patch_size
    figure = Figure(960, 400, "DeforHMR: from a crop to a body")
    figure.box(20, 40, 120, 60, f"Crop\n{height} x {width} pixels", "data")
    figure.box(185, 40, 150, 60, f"Image encoder\nViT, {encoder.depth} blocks, frozen", "frozen")
    figure.box(380, 40, 150, 60, f"Feature map\n{rows} x {columns} x {encoder.dim}", "data")
    figure.arrow((140, 70), (185, 70))
    figure.arrow((335, 70), (380, 70))

    figure.frame(375, 125, 345, 105, "")
    figure.words(545, 145, "where all queries look")
    figure.box(
        390, 155, 145, 60,
        f"Offset network\n{decoder.offset_kernel} x {decoder.offset_kernel} depth-wise, 1 x 1\n"
        f"{decoder.offset_groups} channel groups",
    )  # fmt: skip
    figure.box(565, 155, 140, 60, f"Bilinear sampling\n{rows * columns} points a group")
    figure.arrow((455, 100), (455, 155))
    figure.arrow((535, 185), (565, 185))
    figure.arrow((530, 70), (635, 70), (635, 155))

    figure.box(20, 285, 150, 70, "26 learned queries\n24 pose tokens\nshape, camera", "data")
    figure.frame(205, 260, 520, 110, f"Decoder layer, {decoder.depth} times, width {decoder.dim}")
    figure.box(225, 290, 130, 60, f"Self-attention\n{decoder.num_heads} heads")
    figure.box(390, 290, 165, 60, "Deformable\ncross-attention\nto the sampled points")
    figure.box(590, 290, 115, 60, f"MLP\nhidden width {decoder.mlp_dim}")
    figure.arrow((170, 320), (225, 320))
    figure.arrow((355, 320), (390, 320))
    figure.arrow((555, 320), (590, 320))
    figure.arrow((635, 215), (635, 247), (472, 247), (472, 290))
    shared = ": the same in all layers" if decoder.share_offsets else ""
    figure.words(482, 280, f"keys, values{shared}", anchor="start")

    figure.box(770, 285, 170, 70, "Heads, added to means\n24 rotations (6-D)\n10 betas, camera")
    figure.arrow((705, 320), (770, 320))
    figure.box(770, 160, 170, 70, "Body model (SMPL)\nvertices, joints\n44 keypoints", "body")
    figure.arrow((855, 285), (855, 230))
    figure.box(770, 40, 170, 70, "Losses\nkeypoints_2d, keypoints_3d\nglobal_orient, body_pose, betas", "loss")
    figure.arrow((855, 160), (855, 110))
    return figure


def d2a_hmr() -> Figure:
    """D2A-HMR at the size of its configuration."""
    model = d2a_config().model
    d2a, (height, width) = model.d2a, model.encoder.image_size
    name = model.encoder.name.replace("hrnet_w", "HRNet-W")
    figure = Figure(960, 560, "D2A-HMR: from a crop and its depth to a mesh")
    for top, what in ((120, "Crop"), (330, "Pseudo-depth")):
        figure.box(20, top, 110, 60, f"{what}\n{height} x {width} pixels", "data")
        figure.box(160, top, 110, 60, f"{'Image' if what == 'Crop' else 'Depth'} encoder\n{name}")
        figure.box(296, top, 122, 60, f"Patch embedding\n+ position\nwidth {d2a.dim}")
        figure.arrow((130, top + 30), (160, top + 30))
        figure.arrow((270, top + 30), (296, top + 30))

    figure.frame(440, 80, 310, 330, f"Fusion block, {d2a.depth} times, {d2a.num_heads} heads")
    figure.box(455, 120, 125, 60, "Self-attention\nimage tokens")
    figure.box(455, 330, 125, 60, "Self-attention\ndepth tokens")
    figure.box(455, 225, 125, 60, "Cross-attention\nqueries: image\nkeys, values: depth")
    figure.box(615, 120, 120, 60, f"Gated fusion\nof three, {d2a.gate}")
    figure.box(615, 225, 120, 60, f"MLP\nhidden width {d2a.mlp_dim}")
    figure.arrow((418, 150), (455, 150))
    figure.arrow((418, 360), (455, 360))
    figure.arrow((517, 180), (517, 225))
    figure.arrow((517, 330), (517, 285))
    figure.arrow((580, 150), (615, 150))
    figure.arrow((580, 255), (597, 255), (597, 166), (615, 166))
    figure.arrow((580, 360), (606, 360), (606, 174), (615, 174))
    figure.arrow((675, 180), (675, 225))
    figure.words(680, 345, "the next block takes")
    figure.words(680, 361, "this output and")
    figure.words(680, 377, "the depth tokens")

    figure.box(790, 225, 150, 60, f"Masking\nup to {d2a.mask_ratio:.0%} of the tokens\nonly in training")
    figure.arrow((735, 255), (790, 255))
    figure.box(790, 90, 150, 70, "Silhouette decoder\nthe person's mask\nloss: silhouette")
    figure.arrow((865, 225), (865, 160))
    figure.box(790, 355, 150, 70, "Regressor\n14 joints and\n431 coarse vertices")
    figure.arrow((865, 285), (865, 355))
    figure.arrow((215, 120), (215, 45), (865, 45), (865, 90), dashed=True)
    figure.words(540, 38, "skip: image features")
    figure.arrow((215, 390), (215, 440), (770, 440), (770, 390), (790, 390), dashed=True)
    figure.words(480, 433, "skip: depth features")

    figure.box(560, 470, 190, 65, "Density of the errors\na normalising flow, training only\nloss: rle", "loss")
    figure.box(790, 470, 150, 65, "Mesh\n6,890 vertices\nloss: vertices", "body")
    figure.arrow((865, 425), (865, 470))
    figure.arrow((820, 425), (820, 452), (655, 452), (655, 470))
    figure.box(330, 470, 190, 65, "Joints of the mesh\nprojected with the camera\nlosses: keypoints_2d, _3d", "loss")
    figure.arrow((820, 535), (820, 548), (425, 548), (425, 535))
    return figure


def layer_tables() -> dict[str, list[dict[str, set[str]]]]:
    """LIBRARY and DATA of tests/test_layering.py, from the bottom up."""
    tree = ast.parse((ROOT / "tests" / "test_layering.py").read_text())
    tables = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and node.value and ast.unparse(node.target) in ("LIBRARY", "DATA"):
            tables[ast.unparse(node.target)] = ast.literal_eval(node.value)
    return tables


def layers() -> Figure:
    """Both packages, each layer above those that it may import, and the commands on top."""
    tables = layer_tables()
    library, data = tables["LIBRARY"], tables["DATA"]
    step, top = 62, 130
    height = top + step * max(len(library), len(data)) + 60
    figure = Figure(960, height, "The layers of the code")
    figure.box(
        20,
        20,
        920,
        62,
        "hmr_commands\ntrain, eval, predict and the program hmr; called by train.py, eval.py, predict.py",
        "body",
    )
    _column(figure, 20, 470, top, height - 45, "hmr_jax", library, step)
    _column(figure, 510, 430, top, height - 45, "data_pipelines", data, step)
    figure.arrow((725, 82), (725, top - 25))
    figure.arrow((255, 82), (255, top - 25))
    figure.arrow((510, height - 75), (490, height - 75))
    figure.words(480, height - 14, "Imports go down, and from data_pipelines to hmr_jax; never up, never in a circle.")
    return figure


def _column(
    figure: Figure, x: float, width: float, top: float, bottom: float, name: str, table: Sequence, step: float
) -> None:
    figure.frame(x, top - 25, width, bottom - top + 25, name)
    for number, rooms in enumerate(table):
        y = bottom - 12 - (number + 1) * step + 14
        gap, left = 8, x + 12
        spare = (width - 24 - gap * (len(rooms) - 1)) / sum(len(room) + 3 for room in rooms)
        for room in rooms:
            figure.box(left, y, spare * (len(room) + 3), step - 16, room)
            left += spare * (len(room) + 3) + gap


FIGURES = {"layers": layers, "deforhmr": deforhmr, "d2a_hmr": d2a_hmr}


def main() -> None:
    """Writes all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=IMAGES, help="folder of the files (default: docs/images)")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        (folder / f"{name}.svg").write_text(draw().svg())
        print(folder / f"{name}.svg")


if __name__ == "__main__":
    main()
