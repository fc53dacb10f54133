"""Draw the figures in docs/ from their tables: `python benchmarks/figures.py`.

docs/ablations.csv and docs/backbones.csv hold what was measured; this makes an SVG bar chart of each beside it.
docs/scale.csv has what `benchmarks/scale.py` printed for some sizes of a library, which becomes curves.
"""

from __future__ import annotations

import csv
import math
from html import escape
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
_ROW, _LABEL, _BAR, _VALUES = 24, 430, 330, 360
_COLOUR = "#1b6ca8"
_PANEL, _PLOT, _MARGIN = 330, 200, 50
_CURVES = ("#1b6ca8", "#b3531b", "#4b8b3b")
_SCALE: dict[str, dict[str, str]] = {
    "a search, ms (median)": {
        "search_p50_ms": "Visem",
        "exhaustive_p50_ms": "exhaustive, FAISS",
        "usearch_p50_ms": "USearch (HNSW)",
    },
    "memory of the process, MB": {"anonymous_mb": "Visem", "usearch_mb": "USearch, its graph alone"},
    "opening and the first search, s": {"ready_s": "Visem"},
}


def bars(table: Path, title: str, label: str, value: str, notes: list[str]) -> str:
    """A chart of the column `value` of a CSV file, a bar for each row; the columns `notes` are written behind it."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    longest = max(float(row[value]) for row in rows)
    width, height = _LABEL + _BAR + _VALUES, 40 + _ROW * len(rows) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="22" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for place, row in enumerate(rows):
        y = 40 + _ROW * place
        length = _BAR * float(row[value]) / longest
        written = ", ".join([row[value], *(f"{row[note]} {note}" for note in notes)])
        parts += [
            f'<text x="{_LABEL - 8}" y="{y + 15}" text-anchor="end">{escape(row[label])}</text>',
            f'<rect x="{_LABEL}" y="{y + 3}" width="{length:.1f}" height="{_ROW - 8}" fill="{_COLOUR}"/>',
            f'<text x="{_LABEL + length + 6:.1f}" y="{y + 15}">{escape(written)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def curves(table: Path, panels: dict[str, dict[str, str]], along: str) -> str:
    """Panels of curves, from a CSV file, over its column `along`, all on logarithmic axes; a column is a curve."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    places = [math.log10(float(row[along])) for row in rows]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_PANEL * len(panels)} {_PLOT + 2 * _MARGIN}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for panel, (title, columns) in enumerate(panels.items()):
        values = [math.log10(float(row[column])) for column in columns for row in rows if row[column]]
        low, high = math.floor(min(values)), math.ceil(max(values))
        left, width = _PANEL * panel + _MARGIN, _PANEL - 2 * _MARGIN

        def at(x: float, y: float, left: float = left, width: float = width, low: int = low, high: int = high) -> str:
            across = left + width * (x - places[0]) / (places[-1] - places[0])
            return f"{across:.1f},{_MARGIN + _PLOT * (high - y) / (high - low):.1f}"

        parts.append(f'<text x="{left}" y="22" font-size="14" font-weight="bold">{escape(title)}</text>')
        for power in range(low, high + 1):
            start, end = at(places[0], power), at(places[-1], power)
            parts.append(f'<polyline points="{start} {end}" stroke="#dddddd" fill="none"/>')
            x, y = start.split(",")
            parts.append(
                f'<text x="{float(x) - 6:.1f}" y="{float(y) + 4:.1f}" text-anchor="end">{10.0**power:g}</text>'
            )
        for x, row in zip(places, rows, strict=True):
            across = at(x, low).split(",")[0]
            count = f"{int(row[along]):,}"
            parts.append(f'<text x="{across}" y="{_MARGIN + _PLOT + 18}" text-anchor="middle">{count}</text>')
        for number, (column, name) in enumerate(columns.items()):
            colour = _CURVES[number]
            points = [at(x, math.log10(float(row[column]))) for x, row in zip(places, rows, strict=True) if row[column]]
            parts.append(f'<polyline points="{" ".join(points)}" stroke="{colour}" stroke-width="2" fill="none"/>')
            for point in points:
                x, y = point.split(",")
                parts.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>')
            parts.append(
                f'<text x="{left + 10}" y="{_MARGIN + 16 * (number + 1)}" fill="{colour}">{escape(name)}</text>'
            )
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Write the figures."""
    (DOCS / "scale.svg").write_text(curves(DOCS / "scale.csv", _SCALE, "vectors"), encoding="utf-8")
    title = "Sum of the six recalls, Flickr8k development split"
    for name, label, notes in (
        ("ablations", "variant", ["R@1"]),
        ("backbones", "backbone", ["R@1", "ms an image", "MB of bundle"]),
    ):
        figure = bars(DOCS / f"{name}.csv", title, label, "sum", notes)
        (DOCS / f"{name}.svg").write_text(figure, encoding="utf-8")


if __name__ == "__main__":
    main()
