"""Line and bar charts as inline SVG, for pages that work offline; colours come from the page's style sheet."""

import html
import math
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 520, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 22, 28, 34
_POINTS = 300  # drawn of each series at most


def line_chart(series: Mapping[str, tuple[Sequence[float], Sequence[float]]], x_label: str = "step") -> str:
    """Draws one line per series.

    Args:
        series: name -> (x, y); values that are not finite are left out, a series without any is not drawn.
        x_label: label of the horizontal axis.

    Returns:
        An <svg> element with a legend where there are several series.

    Raises:
        ValueError: there is nothing to draw.
    """
    lines = {}
    for name, (xs, ys) in series.items():
        points = [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(x) and math.isfinite(y)]
        if points:
            lines[name] = points[:: -(-len(points) // _POINTS)] + points[-1:]
    if not lines:
        raise ValueError(f"There is nothing to draw: {', '.join(series) or 'no series'} hold no finite number.")
    every = [point for points in lines.values() for point in points]
    x_ticks, y_ticks = (nice_ticks(min(values), max(values)) for values in zip(*every, strict=True))

    def to_pixels(x: float, y: float) -> tuple[float, float]:
        across = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return _LEFT + across * (WIDTH - _LEFT - _RIGHT), HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" class="chart" role="img">']
    for tick in y_ticks:
        y = to_pixels(x_ticks[0], tick)[1]
        parts.append(f'<line class="rule" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_label(tick)}</text>')
    for tick in x_ticks:
        x = to_pixels(tick, y_ticks[0])[0]
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 16}" text-anchor="middle">{_label(tick)}</text>')
    parts.append(f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 3}" text-anchor="end">{html.escape(x_label)}</text>')
    legend_x = _LEFT
    for number, (name, points) in enumerate(lines.items()):
        color = f"color{number % 4}"
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (to_pixels(*point) for point in points))
        parts.append(f'<polyline class="line {color}" points="{path}"/>')
        if len(lines) > 1:
            parts.append(f'<text class="key {color}" x="{legend_x}" y="14">{html.escape(name)}</text>')
            legend_x += 7 * len(name) + 18  # a 12 px letter is 7 px wide or less
    return "".join([*parts, "</svg>"])


def bar_chart(values: Mapping[str, float], unit: str = "") -> str:
    """Draws a horizontal bar per value, in the order given, with its name on the left and its number at its end.

    Args:
        values: name -> length, not negative; those that are not finite are left out.
        unit: written after the numbers.

    Returns:
        An <svg> element.

    Raises:
        ValueError: there is nothing to draw.
    """
    bars = {name: value for name, value in values.items() if math.isfinite(value)}
    if not bars:
        raise ValueError("There is nothing to draw: no value is finite.")
    left, row = 130, 20
    longest = max(bars.values()) or 1.0
    parts = [f'<svg viewBox="0 0 {WIDTH} {row * len(bars) + 8}" class="chart" role="img">']
    for number, (name, value) in enumerate(bars.items()):
        top = 4 + row * number
        width = (WIDTH - left - 90) * max(value, 0) / longest
        parts.append(f'<text x="{left - 8}" y="{top + 14}" text-anchor="end">{html.escape(name)}</text>')
        parts.append(f'<rect class="bar" x="{left}" y="{top + 3}" width="{width:.1f}" height="{row - 6}"/>')
        label = f"{value:.1f} {unit}".strip()
        parts.append(f'<text x="{left + width + 6:.1f}" y="{top + 14}">{html.escape(label)}</text>')
    return "".join([*parts, "</svg>"])


def column_chart(labels: Sequence[str], values: Sequence[float], shown: int = 6) -> str:
    """Draws one vertical bar per value, from zero, as in a histogram.

    Args:
        labels: of the bars; about `shown` of them are written under the axis, all appear as tooltips.
        values: not negative.
        shown: number of labels for which there is space.

    Returns:
        An <svg> element.

    Raises:
        ValueError: there is nothing to draw.
    """
    if not len(values):
        raise ValueError("There is nothing to draw: no bars.")
    ticks = nice_ticks(0, max(values))
    across, up = (WIDTH - _LEFT - _RIGHT) / len(values), (HEIGHT - _TOP - _BOTTOM) / ticks[-1]
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" class="chart" role="img">']
    for tick in ticks:
        y = HEIGHT - _BOTTOM - tick * up
        parts.append(f'<line class="rule" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_label(tick)}</text>')
    spacing = -(-len(values) // shown)
    for number, (label, value) in enumerate(zip(labels, values, strict=True)):
        x, name = _LEFT + number * across, html.escape(label)
        parts.append(
            f'<rect class="bar" x="{x + 0.08 * across:.1f}" y="{HEIGHT - _BOTTOM - value * up:.1f}" '
            f'width="{0.84 * across:.1f}" height="{value * up:.1f}"><title>{name}: {_label(value)}</title></rect>'
        )
        if number % spacing == 0:
            parts.append(f'<text x="{x + across / 2:.1f}" y="{HEIGHT - 16}" text-anchor="middle">{name}</text>')
    return "".join([*parts, "</svg>"])


def nice_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from at most `low` to at least `high`, two or more."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _label(value: float) -> str:
    for size, unit in ((1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (size if unit == 'M' else 1e3):.4g}{unit}"
    return f"{value:.4g}"
