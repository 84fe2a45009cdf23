"""A stand-alone HTML page: text, figures, tables, curves, images, and a body that the mouse rotates.

Everything is inside one file, so it opens offline. A page is a list of blocks:

    write_report("report.html", "DeforHMR", [
        Numbers({"PA-MPJPE": "45.1 mm"}),
        Curves("Training", rows, {"loss": ["train/loss"], "error, mm": ["validation/mpjpe"]}),
        Gallery("Test people", [("first", image)]),
        Body("A prediction", vertices, faces),
    ])
"""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from hmr_jax.io import atomic
from hmr_jax.rendering.charts import line_chart
from hmr_jax.rendering.player import viewer_page
from hmr_jax.rendering.shading import CLAY


class Block(Protocol):
    """A part of the page."""

    def html(self) -> str: ...


@dataclass(frozen=True)
class Text:
    """A heading and paragraphs separated by empty lines."""

    title: str
    text: str

    def html(self) -> str:
        paragraphs = "".join(f"<p>{html.escape(part.strip())}</p>" for part in self.text.split("\n\n"))
        return _section(self.title, paragraphs)


@dataclass(frozen=True)
class Numbers:
    """A row of large figures with their names."""

    values: Mapping[str, str]

    def html(self) -> str:
        tiles = "".join(
            f"<div><strong>{html.escape(value)}</strong><span>{html.escape(name)}</span></div>"
            for name, value in self.values.items()
        )
        return f'<section class="numbers">{tiles}</section>'


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers; floats get one digit after the point."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""

    def html(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.header)
        body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in self.rows)
        note = f'<p class="note">{html.escape(self.note)}</p>' if self.note else ""
        table = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        return _section(self.title, table + note)


@dataclass(frozen=True)
class Curves:
    """Charts of scalars over steps, from the rows of a metrics.jsonl file."""

    title: str
    rows: Sequence[Mapping[str, float]]
    """Each with "step" and some of the scalars."""
    charts: Mapping[str, Sequence[str]]
    """Caption of a chart -> names of the scalars in it; charts without any value are left out."""

    def html(self) -> str:
        figures = []
        for caption, names in self.charts.items():
            series = {}
            for name in names:
                rows = [row for row in self.rows if name in row]
                if rows:
                    series[name] = ([row["step"] for row in rows], [row[name] for row in rows])
            if series:
                figures.append(_figure(line_chart(series), caption))
        return _section(self.title, f'<div class="grid">{"".join(figures)}</div>')


@dataclass(frozen=True)
class Charts:
    """Charts (SVG of `rendering.charts`) with captions, as many in a row as fit."""

    title: str
    charts: Sequence[tuple[str, str]]
    note: str = ""

    def html(self) -> str:
        figures = "".join(_figure(chart, caption) for caption, chart in self.charts)
        note = f'<p class="note">{html.escape(self.note)}</p>' if self.note else ""
        return _section(self.title, f'<div class="grid">{figures}</div>{note}')


@dataclass(frozen=True)
class Gallery:
    """Images (H, W, 3) uint8 with captions, as many in a row as fit."""

    title: str
    images: Sequence[tuple[str, np.ndarray]]
    wide: bool = False
    """One image per row."""

    def html(self) -> str:
        figures = "".join(_figure(_image(image), caption) for caption, image in self.images)
        return _section(self.title, f'<div class="{"rows" if self.wide else "grid"}">{figures}</div>')


@dataclass(frozen=True)
class Body:
    """A mesh that the mouse rotates: vertices (V, 3) in camera axes (y down), metres, and faces (F, 3)."""

    title: str
    vertices: np.ndarray
    faces: np.ndarray
    note: str = "Drag to rotate, scroll to zoom, drag with the right button to move."

    def html(self) -> str:
        page = html.escape(viewer_page(self.title, [self.vertices], self.faces, np.array([CLAY])))
        frame = f'<iframe class="body" title="{html.escape(self.title)}" srcdoc="{page}"></iframe>'
        return _section(self.title, f'{frame}<p class="note">{html.escape(self.note)}</p>')


def write_report(path: str | Path, title: str, blocks: Sequence[Block], summary: str = "", footer: str = "") -> Path:
    """Writes the page atomically.

    Args:
        path: of the HTML file; its folder is created if it does not exist.
        title: heading and title of the page.
        blocks: its parts, from top to bottom.
        summary: one or two sentences under the heading.
        footer: small print at the end.

    Returns:
        The path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    summary = f'<p class="summary">{html.escape(summary)}</p>' if summary else ""
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>"
    )
    main = f"<header><h1>{html.escape(title)}</h1>{summary}</header>" + "\n".join(block.html() for block in blocks)
    atomic.write_text(path, f"{head}\n<body><main>{main}</main><footer>{html.escape(footer)}</footer></body></html>\n")
    return path


def _section(title: str, content: str) -> str:
    heading = f"<h2>{html.escape(title)}</h2>" if title else ""
    return f"<section>{heading}{content}</section>"


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _cell(value: Any) -> str:
    number = isinstance(value, int | float | np.number)
    text = f"{value:.1f}" if isinstance(value, float | np.floating) else str(value)
    return f'<td class="number">{text}</td>' if number else f"<td>{html.escape(text)}</td>"


def _image(image: np.ndarray, max_side: int = 1600) -> str:
    shown = Image.fromarray(image)
    shown.thumbnail((max_side, max_side))
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=88)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="" width="{shown.width}" height="{shown.height}" src="data:image/jpeg;base64,{data}">'


_STYLE = """
:root { color-scheme: light dark; --ink: #1f2430; --soft: #667085; --line: #e3e6ec; --card: #fff; --page: #f6f7f9;
  --c0: #3b6fd4; --c1: #d9772b; --c2: #2f9e6e; --c3: #a24fc4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #98a1b3; --line: #2c3340; --card: #1a1f29;
  --page: #12161d; --c0: #7aa5f5; --c1: #f0a25e; --c2: #63cf9f; --c3: #cf8ae8; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 20px 8px; }
h1 { margin: 0; font-size: 2.1rem; line-height: 1.2; letter-spacing: -0.02em; }
h2 { margin: 0 0 14px; font-size: 1.15rem; letter-spacing: -0.01em; }
.summary { margin: 10px 0 26px; color: var(--soft); font-size: 1.08rem; max-width: 75ch; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 22px 24px;
  margin: 0 0 18px; }
section p { margin: 0 0 10px; max-width: 80ch; }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 16px; }
.numbers strong { display: block; font-size: 1.7rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.numbers span, .note, figcaption, footer { color: var(--soft); font-size: 0.9rem; }
.note { margin: 10px 0 0; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 18px;
  align-items: start; }
.rows { display: grid; gap: 22px; }
figure { margin: 0; }
figcaption { margin-top: 6px; text-align: center; }
img { display: block; width: 100%; height: auto; border-radius: 8px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 0.9rem; }
th, td { padding: 8px 18px 8px 0; border-bottom: 1px solid var(--line); }
tbody tr:last-child td { border-bottom: 0; }
.body { display: block; width: 100%; height: min(70vh, 560px); border: 0; border-radius: 8px; }
.chart { display: block; width: 100%; max-width: 620px; height: auto; margin: 0 auto; }
.chart text { font-size: 12px; fill: var(--soft); }
.chart .rule { stroke: var(--line); }
.chart .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.chart .key { font-weight: 600; }
.bar { fill: var(--c0); }
.line.color0 { stroke: var(--c0); } .line.color1 { stroke: var(--c1); }
.line.color2 { stroke: var(--c2); } .line.color3 { stroke: var(--c3); }
.chart .key.color0 { fill: var(--c0); } .chart .key.color1 { fill: var(--c1); }
.chart .key.color2 { fill: var(--c2); } .chart .key.color3 { fill: var(--c3); }
footer { max-width: 1120px; margin: 0 auto; padding: 4px 20px 40px; }
"""
