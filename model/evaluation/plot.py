"""A reliability plot as SVG: what was said against what happened, one line for each kind of query."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from model.evaluation.calibration import Reliability

_SIDE, _LEFT, _TOP, _LEGEND = 420, 60, 20, 300
_COLOURS = (
    *("#1b6ca8", "#d1495b", "#3a7d44", "#8b5fbf", "#c77d1e"),
    *("#444444", "#17a2a8", "#b5338a", "#8a8a2b", "#7a4a2b"),
)


def reliability_svg(measured: Mapping[str, Reliability]) -> str:
    """The plot, self-contained; the diagonal is a perfect calibration."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _SIDE + _LEGEND} {_TOP + _SIDE + 50}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}" fill="none" stroke="#999"/>',
        f'<path d="M{_point(0, 0)} L{_point(1, 1)}" stroke="#bbb" stroke-dasharray="4 4"/>',
    ]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x, y = _place(tick, 0)
        parts.append(f'<text x="{x:.0f}" y="{y + 18:.0f}" text-anchor="middle">{tick:g}</text>')
        x, y = _place(0, tick)
        parts.append(f'<text x="{x - 8:.0f}" y="{y + 4:.0f}" text-anchor="end">{tick:g}</text>')
    parts.append(f'<text x="{_LEFT + _SIDE / 2}" y="{_TOP + _SIDE + 40}" text-anchor="middle">confidence</text>')
    middle = _TOP + _SIDE / 2
    parts.append(
        f'<text x="16" y="{middle}" transform="rotate(-90 16 {middle})" text-anchor="middle">share right</text>'
    )
    for row, ((name, one), colour) in enumerate(zip(measured.items(), _COLOURS * len(measured), strict=False)):
        line = " L".join(_point(x, y) for x, y in zip(one.probability, one.share_right, strict=True))
        parts.append(f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y in zip(one.probability, one.share_right, strict=True):
            across, down = _place(x, y)
            parts.append(f'<circle cx="{across:.1f}" cy="{down:.1f}" r="3" fill="{colour}"/>')
        label = f"{name.replace('_', ' ')}: error {one.error:.3f}"
        parts.append(
            f'<text x="{_LEFT + _SIDE + 16}" y="{_TOP + 20 + 22 * row}" fill="{colour}">{escape(label)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _place(x: float, y: float) -> tuple[float, float]:
    return _LEFT + x * _SIDE, _TOP + (1 - y) * _SIDE


def _point(x: float, y: float) -> str:
    across, down = _place(x, y)
    return f"{across:.1f},{down:.1f}"
