"""What a candidate must not lose while it wins on average: segments and coverage."""

import math
from collections.abc import Iterator
from typing import Any

from bridgerec.config import Params

# people who do not take this route, so that what its candidate does for them does not matter
NOT_ASKED = {"warm": ("cold_start", "unknown"), "cold_start": ("unknown",)}

Needed = tuple[str, str, str, str]  # split, target, segment, metric


def _cases(metrics: dict[str, Any], protocol: str) -> Iterator[tuple[str, str]]:
    for split, candidates in metrics.get("validation", {}).items():
        if split.split("-")[0] == protocol:
            for target in sorted({t for targets in candidates.values() for t in targets}):
                yield split, target


def _needed(
    metrics: dict[str, Any], route: str, protocol: str, params: Params
) -> Iterator[tuple[Needed, float]]:
    """What the guards look at, with the least value: a share of the baseline's, or the coverage.

    A segment in which the baseline has nobody is in no case.
    """
    gate = params.gate
    for split, target in _cases(metrics, protocol):
        baseline = metrics["validation"][split].get(gate.baseline, {}).get(target, {})
        for segment, share in gate.guards.segments.items():
            if segment in baseline and segment not in NOT_ASKED[route]:
                value = baseline[segment].get(gate.metric, {}).get("value", math.nan)
                yield (split, target, segment, gate.metric), share * value
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


def failures(
    metrics: dict[str, Any], candidate: str, route: str, protocol: str, params: Params
) -> list[str]:
    """The guards that a candidate does not pass, in words.

    A value fails when even the upper end of its interval lies below the least that is allowed, so
    that a handful of people cannot decide.
    """
    found = []
    for needed, least in _needed(metrics, route, protocol, params):
        cell = _cell(metrics, candidate, needed)
        if cell["high"] < least:
            split, target, segment, metric = needed
            found.append(
                f"{metric} {cell['value']:.4f} (at most {cell['high']:.4f}) on "
                f"{split}/{target}/{segment} is below the guard's {least:.4f}"
            )
    return found
