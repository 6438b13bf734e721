"""What a candidate must not lose while it wins on average: segments and coverage."""

import math
from collections.abc import Iterator
from typing import Any

from bridgerec.config import SCRIPT, Params

# people who do not take this route, so that what its candidate does for them does not matter
NOT_ASKED = {"warm": ("cold_start", "unknown"), "cold_start": ("unknown",)}

Needed = tuple[str, str, str, str]  # split, target, segment, metric


def asked(segment: str, route: str, params: Params) -> float | None:
    """The share of another's value that is asked for in a segment; None: nothing."""
    return None if segment in NOT_ASKED[route] else params.gate.guards.share(segment)


def _cases(metrics: dict[str, Any], protocol: str) -> Iterator[tuple[str, str]]:
    for split, candidates in metrics.get("validation", {}).items():
        if split.split("-")[0] == protocol:
            for target in sorted({t for targets in candidates.values() for t in targets}):
                yield split, target


def _segments(metrics: dict[str, Any], split: str, target: str) -> list[str]:
    """All that any competitor was judged in."""
    found = metrics["validation"][split].values()
    return list(dict.fromkeys(s for targets in found for s in targets.get(target, {})))


def _needed(
    metrics: dict[str, Any], route: str, protocol: str, params: Params
) -> Iterator[tuple[Needed, float]]:
    """What the guards look at, with the least value: a share of the baseline's, or the coverage.

    A segment in which nobody was judged is in no case.
    """
    gate = params.gate
    for split, target in _cases(metrics, protocol):
        for segment in _segments(metrics, split, target):
            share = asked(segment, route, params)
            if share is not None:
                needed = (split, target, segment, gate.metric)
                yield needed, share * _cell(metrics, gate.baseline, needed).get("value", math.nan)
        if gate.guards.coverage is not None:
            metric = f"coverage@{gate.metric.split('@')[1]}"
            yield (split, target, "all", metric), gate.guards.coverage


def _cell(metrics: dict[str, Any], candidate: str, needed: Needed) -> dict[str, float]:
    split, target, segment, metric = needed
    found = metrics["validation"][split].get(candidate, {}).get(target, {}).get(segment, {})
    cell: dict[str, float] = found.get(metric, {})
    return cell


def missing(metrics: dict[str, Any], route: str, protocol: str, params: Params) -> list[str]:
    """Numbers that the guards need and that are not there or not finite, of all competitors."""
    found = []
    for needed, least in _needed(metrics, route, protocol, params):
        for candidate in params.competitors:
            cell = _cell(metrics, candidate, needed)
            values = [cell.get(name, math.nan) for name in ("value", "high")]
            if not all(map(math.isfinite, [*values, least])):
                split, target, segment, metric = needed
                found.append(
                    f"{metric} of {candidate} on {split}/{target}/{segment} (validation), which a "
                    "guard needs, is missing or not finite"
                )
    return found


def absent_scripts(metrics: dict[str, Any], params: Params) -> list[str]:
    """Scripts that a guard names and nobody was judged in."""
    there = {
        segment
        for candidates in metrics.get("validation", {}).values()
        for targets in candidates.values()
        for segments in targets.values()
        for segment in segments
        if segment.startswith(SCRIPT)
    }
    return [
        f"gate.guards.segments names {name}, which no case has (scripts that have enough items and "
        f"people: {', '.join(sorted(there)) or 'none'})"
        for name in params.gate.guards.scripts
        if name not in there
    ]


def guarded(
    metrics: dict[str, Any], candidate: str, route: str, protocol: str, params: Params
) -> list[dict[str, Any]]:
    """Every number of a candidate that a guard looks at, with the `least` that it asks for."""
    found = []
    for needed, least in _needed(metrics, route, protocol, params):
        split, target, segment, metric = needed
        cell = _cell(metrics, candidate, needed)
        found.append(
            {
                "split": split,
                "target": target,
                "segment": segment,
                "metric": metric,
                "value": cell["value"],
                "high": cell["high"],
                "least": least,
            }
        )
    return found


def failures(found: list[dict[str, Any]]) -> list[str]:
    """Which numbers of `guarded` do not pass, in words.

    A value fails when even the upper end of its interval lies below the least that is allowed, so
    that a handful of people cannot decide.
    """
    return [
        "{metric} {value:.4f} (at most {high:.4f}) on {split}/{target}/{segment} is below the "
        "guard's {least:.4f}".format(**one)
        for one in found
        if one["high"] < one["least"]
    ]


def held(found: list[dict[str, Any]]) -> str:
    """The numbers of `guarded` of a candidate that passes, in words; empty where there are none."""
    line = "{metric} {value:.4f} on {split}/{target}/{segment} (guard: {least:.4f})"
    return ", ".join(line.format(**one) for one in found)
