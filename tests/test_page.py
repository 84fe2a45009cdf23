"""The stand-alone page and its charts."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import browser
import numpy as np
import pytest

from hmr_jax.body import load_body_model
from hmr_jax.rendering.charts import bar_chart, column_chart, line_chart, nice_ticks
from hmr_jax.rendering.page import Body, Curves, Gallery, Numbers, Table, Text, write_report

ROWS = [{"step": step, "train/loss": 10.0 / (step + 1)} for step in range(0, 1000, 10)]
ROWS += [{"step": 500, "validation/mpjpe": 90.0}]
IMAGE = np.full((40, 60, 3), 90, np.uint8)


class Balance(HTMLParser):
    """Counts elements and notices those that are not closed in order."""

    VOID = frozenset({"meta", "img", "line", "polyline", "br"})

    def __init__(self):
        super().__init__()
        self.open, self.counts, self.sources = [], {}, []

    def handle_starttag(self, tag, attributes):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parse(path):
    page = Balance()
    page.feed(path.read_text())
    assert page.open == []
    return page


def test_a_page_holds_every_block_and_needs_no_network(tmp_path):
    body = load_body_model()
    path = write_report(
        tmp_path / "new" / "report.html",
        "Title <1>",
        [
            Text("Words", "One & two.\n\nThree."),
            Numbers({"error": "45.1 mm"}),
            Table("Table", ["name", "mm"], [["a", 1.234], ["b", 2]], note="small"),
            Curves("Curves", ROWS, {"loss": ["train/loss"], "error": ["validation/mpjpe"], "absent": ["nothing"]}),
            Gallery("Images", [("first", IMAGE), ("second", IMAGE)]),
            Body("Body", body.v_template, body.faces),
        ],
        summary="Summary.",
        footer="Footer.",
    )
    page = parse(path)
    assert page.counts["svg"] == 2
    assert page.counts["img"] == 2
    assert page.counts["iframe"] == 1
    assert all(source.startswith("data:") for source in page.sources)
    assert not re.search(r"""(src|href)=(&quot;|["'])https?:""", path.read_text())
    text = path.read_text()
    assert "Title &lt;1&gt;" in text
    assert '<td class="number">1.2</td>' in text
    assert '<td class="number">2</td>' in text
    assert path.stat().st_size < 3e6


@pytest.mark.skipif(browser.PROGRAM is None, reason="needs Chromium")
def test_a_page_opens_from_the_disk_without_an_error(tmp_path):
    body = load_body_model()
    path = write_report(
        tmp_path / "report.html",
        "Title",
        [Curves("Curves", ROWS, {"loss": ["train/loss"]}), Body("Body", body.v_template, body.faces)],
    )
    with browser.Browser(tmp_path / "browser") as page:
        page.open(path.as_uri())
        viewer = "document.querySelector('iframe').contentWindow"
        page.wait(f"{viewer}.camera !== undefined")
        start, aspect = page.run(f"[{viewer}.camera.position.toArray(), {viewer}.camera.aspect]")
        page.run(f"{viewer}.focus()")
        page.key("ArrowRight")
        turned = page.run(f"{viewer}.camera.position.toArray()")
        page.key("0")
        again = page.run(f"{viewer}.camera.position.toArray()")
        assert page.errors == []
    x, y, z = (body.v_template - (body.v_template.min(0) + body.v_template.max(0)) / 2).T
    seen = np.abs([x / aspect, y]).max(0) / (start[2] + z)
    assert 0.8 < seen.max() / np.tan(np.radians(22.5)) < 1, "all of it is seen, and it fills the view"
    assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(start))
    assert turned[0] < start[0] - 0.1, "the camera goes left, so that the body turns as if dragged to the right"
    np.testing.assert_allclose(again, start, atol=1e-6)


def test_a_page_that_fails_leaves_no_file(tmp_path):
    with pytest.raises(AttributeError):
        write_report(tmp_path / "report.html", "x", [Gallery("Images", [("bad", None)])])
    assert list(tmp_path.iterdir()) == []


def test_charts_are_valid_xml_with_a_line_per_series():
    chart = ElementTree.fromstring(line_chart({"a & b": ([0, 1, 2], [3.0, 1, 2]), "c": ([0, 2], [1.0, 1])}))
    lines = chart.findall("polyline")
    assert [len(line.get("points").split()) for line in lines] == [4, 3]  # the last point is drawn twice
    first = [tuple(map(float, point.split(","))) for point in lines[0].get("points").split()]
    assert first[0][0] < first[1][0] < first[2][0]
    assert first[1][1] > first[2][1] > first[0][1]  # y points down
    assert "a & b" in [text.text for text in chart.findall("text")]


def test_charts_skip_what_is_not_finite():
    chart = line_chart({"loss": ([0, 1, 2], [1.0, float("nan"), 2.0]), "empty": ([], [])})
    assert "nan" not in chart
    with pytest.raises(ValueError, match="nothing to draw"):
        line_chart({"loss": ([0], [float("inf")])})


def test_bars_are_as_long_as_their_values():
    chart = ElementTree.fromstring(bar_chart({"a & b": 2.0, "half": 1.0, "none": 0.0, "lost": float("nan")}, "mm"))
    widths = [float(bar.get("width")) for bar in chart.findall("rect")]
    assert widths == [widths[0], widths[0] / 2, 0]
    assert [text.text for text in chart.findall("text")][:2] == ["a & b", "2.0 mm"]
    with pytest.raises(ValueError, match="nothing to draw"):
        bar_chart({"lost": float("nan")})


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.013, 0.21), (-3, 8), (70, 70), (0, 0), (999, 1001), (1e-6, 3e6)])
def test_ticks_are_round_and_cover_the_range(low, high):
    ticks = nice_ticks(low, high)
    step = ticks[1] - ticks[0]
    assert 2 <= len(ticks) <= 9
    assert ticks[0] <= low + 1e-9 * step
    assert ticks[-1] >= high - 1e-9 * step
    assert round(step / 10 ** np.floor(np.log10(step * 1.001)), 6) in (1, 2, 5)


def test_bars_start_at_zero_and_tell_their_values():
    drawn = ElementTree.fromstring(column_chart([f"<{i}>" for i in range(12)], [0, 1, *range(10)], shown=4))
    bars = [element for element in drawn.iter() if element.get("class") == "bar"]
    heights = np.array([float(bar.get("height")) for bar in bars])
    np.testing.assert_allclose(heights / heights[-1], np.array([0, 1, *range(10)]) / 9, atol=0.01)
    assert len({round(float(bar.get("y")) + float(bar.get("height")), 1) for bar in bars}) == 1
    assert bars[-1][0].text == "<11>: 9"
    assert sum(element.text in {f"<{i}>" for i in range(12)} for element in drawn.iter("text")) == 4
    with pytest.raises(ValueError, match="nothing to draw"):
        column_chart([], [])
