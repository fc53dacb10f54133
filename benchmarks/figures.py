"""Draw the figures in docs/ from their tables: `python benchmarks/figures.py`.

docs/ablations.csv and docs/backbones.csv hold what was measured; this makes an SVG bar chart of each beside it.
"""

from __future__ import annotations

import csv
from html import escape
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
_ROW, _LABEL, _BAR, _VALUES = 24, 430, 330, 360
_COLOUR = "#1b6ca8"


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


def main() -> None:
    """Write the figures."""
    title = "Sum of the six recalls, Flickr8k development split"
    for name, label, notes in (
        ("ablations", "variant", ["R@1"]),
        ("backbones", "backbone", ["R@1", "ms an image", "MB of bundle"]),
    ):
        figure = bars(DOCS / f"{name}.csv", title, label, "sum", notes)
        (DOCS / f"{name}.svg").write_text(figure, encoding="utf-8")


if __name__ == "__main__":
    main()
