"""Pictures of the story as inline SVG, in the colours of the evaluation page."""

import html
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bridgerec.rehearsal.story import Act

WIDTH, HEIGHT = 1040, 330
LEFT, RIGHT, TOP, BOTTOM = 58, 20, 34, 40
Place = Callable[[float], float]
LINES = (("frozen", "--bad", "frozen: the first release"), ("maintained", "--best", "maintained"))


def curve(days: Sequence[dict[str, Any]], marks: Sequence[tuple[float, str]], label: str) -> str:
    """Both models' means per day with their interval bands; `marks` are vertical lines, (day,
    words)."""
    ends = [d[name] for d in days for name, _, _ in LINES]
    top: float = 1.05 * max((end["high"] for end in ends), default=1) or 1
    low = 0.0
    first, last = days[0]["day"], max(days[-1]["day"], days[0]["day"] + 1)

    def x(day: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * float(day - first) / float(last - first)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (top - low)

    parts = [_grid(low, top, y), *(_day(d["day"], x) for d in days)]
    for day, words in marks:
        anchor = "end" if day > (first + last) / 2 else "start"
        shift = -6 if anchor == "end" else 6
        parts.append(
            f'<path d="M{x(day):.1f} {TOP - 14}V{HEIGHT - BOTTOM}" stroke="var(--soft)" '
            f'stroke-dasharray="4 4"/><text class="soft" x="{x(day) + shift:.1f}" y="{TOP - 6}" '
            f'text-anchor="{anchor}">{html.escape(words)}</text>'
        )
    for name, colour, _ in LINES:
        band = [(x(d["day"]), y(d[name]["high"])) for d in days]
        band += [(x(d["day"]), y(d[name]["low"])) for d in reversed(days)]
        line = [(x(d["day"]), y(d[name]["value"])) for d in days]
        dots = "".join(
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.2" fill="var({colour})"><title>day '
            f"{d['day'] + 1}, {name}: {d[name]['value']:.4f} [{d[name]['low']:.4f}, "
            f"{d[name]['high']:.4f}]</title></circle>"
            for (a, b), d in zip(line, days, strict=True)
        )
        dash = ' stroke-dasharray="7 4"' if name == "frozen" else ""
        parts.append(
            f'<polygon points="{_points(band)}" fill="var({colour})" opacity="0.13"/>'
            f'<polyline points="{_points(line)}" fill="none" stroke="var({colour})" '
            f'stroke-width="2.2"{dash}/>{dots}'
        )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(label)}">'
        f"{''.join(parts)}{_legend()}</svg>"
    )


def _grid(low: float, top: float, y: Place) -> str:
    found = []
    step = 10 ** np.floor(np.log10(top - low))
    step = float(step if (top - low) / step >= 3 else step / 5)
    for i in range(int(np.ceil(low / step - 1e-9)), int(np.floor(top / step + 1e-9)) + 1):
        value = i * step
        found.append(
            f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="var(--line)"/>'
            f'<text class="soft" x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">'
            f"{value:.3g}</text>"
        )
    return "".join(found)


def _day(day: int, x: Place) -> str:
    return (f'<text class="soft" x="{x(day):.1f}" y="{HEIGHT - BOTTOM + 18}" '
            f'text-anchor="middle">{day + 1}</text>')  # fmt: skip


def _legend() -> str:
    found, at = [], LEFT
    for _, colour, words in LINES:
        found.append(
            f'<rect x="{at}" y="{HEIGHT - 12}" width="16" height="4" fill="var({colour})"/>'
            f'<text x="{at + 22}" y="{HEIGHT - 6}">{words}</text>'
        )
        at += 220
    return "".join(found) + (
        f'<text class="soft" x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">'
        "simulated day</text>"
    )


def _points(pairs: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in pairs)


def timeline(acts: Sequence[Act]) -> str:
    """When each act began and how long it took, in real time."""
    end = max((act.began + act.seconds for act in acts), default=1) or 1
    row, left = 26, 250
    scale = (WIDTH - left - 90) / end
    parts = []
    for number, act in enumerate(acts):
        y, x, width = number * row + 4, left + act.began * scale, max(act.seconds * scale, 2)
        parts.append(
            f"<g><title>{html.escape(act.words)}</title>"
            f'<text x="{left - 12}" y="{y + 13}" text-anchor="end">{html.escape(act.name)}</text>'
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="17" rx="3" '
            f'fill="var(--bar)"/><text class="soft" x="{x + width + 6:.1f}" y="{y + 13}">'
            f"{span(act.seconds)}</text></g>"
        )
    height = len(acts) * row + 8
    return (f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="what happened when">'
            f"{''.join(parts)}</svg>")  # fmt: skip


def span(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"
