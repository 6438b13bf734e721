"""What a candidate must not lose while it wins on average: segments and coverage."""

import math
from collections.abc import Iterator
from typing import Any

from bridgerec.config import LANGUAGE, SCRIPT, Params
from bridgerec.evaluation.segments import LEAST

# people who do not take this route, so that what its candidate does for them does not matter
NOT_ASKED = {"warm": ("cold_start", "unknown"), "cold_start": ("unknown",)}

Needed = tuple[str, str, str, str]  # split, target, segment, metric
Demand = dict[str, Any]  # see `demand`


def asked(segment: str, route: str, params: Params) -> float | None:
    """The share of another's value that is asked for in a segment; None: nothing."""
    return None if segment in NOT_ASKED[route] else params.gate.guards.share(segment)


def demand(share: float, value: float, people: int, who: str) -> Demand:
    """What is asked for in a segment of so many `people`, where `who` has `value`: `least`, the
    share of that; and where this is nothing, `why` in words.

    Of a handful of people no interval is to be believed, so nothing is asked; nor is it where
    `who` finds nothing: a guard keeps what there is, and does not refuse the best for the rest.
    """
    if people < LEAST and math.isfinite(value):
        return {"least": 0.0, "why": f"nothing is asked of {people} people"}
    if value == 0 and share > 0:
        return {"least": 0.0, "why": f"nothing is asked, as {who} finds nothing"}
    return {"least": share * value}


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
) -> Iterator[tuple[Needed, Demand]]:
    """What the guards look at, with what they ask for: a share of the baseline's, or the coverage.

    A segment in which nobody was judged is in no case.
    """
    gate = params.gate
    for split, target in _cases(metrics, protocol):
        people = metrics["info"]["people"]["validation"][split][target]
        for segment in _segments(metrics, split, target):
            share = asked(segment, route, params)
            if share is not None:
                needed = (split, target, segment, gate.metric)
                value = _cell(metrics, gate.baseline, needed).get("value", math.nan)
                yield needed, demand(share, value, people[segment], gate.baseline)
        if gate.guards.coverage is not None:
            metric = f"coverage@{gate.metric.split('@')[1]}"
            yield (split, target, "all", metric), {"least": gate.guards.coverage}


def _cell(metrics: dict[str, Any], candidate: str, needed: Needed) -> dict[str, float]:
    split, target, segment, metric = needed
    found = metrics["validation"][split].get(candidate, {}).get(target, {}).get(segment, {})
    cell: dict[str, float] = found.get(metric, {})
    return cell


def missing(metrics: dict[str, Any], route: str, protocol: str, params: Params) -> list[str]:
    """Numbers that the guards need and that are not there or not finite, of all competitors."""
    found = []
    for needed, wanted in _needed(metrics, route, protocol, params):
        for candidate in params.competitors:
            cell = _cell(metrics, candidate, needed)
            values = [cell.get(name, math.nan) for name in ("value", "high")]
            if not all(map(math.isfinite, [*values, wanted["least"]])):
                split, target, segment, metric = needed
                found.append(
                    f"{metric} of {candidate} on {split}/{target}/{segment} (validation), which a "
                    "guard needs, is missing or not finite"
                )
    return found


def absent_languages(metrics: dict[str, Any], params: Params) -> list[str]:
    """Languages and scripts that a guard names and nobody was judged in."""
    there = {
        segment
        for candidates in metrics.get("validation", {}).values()
        for targets in candidates.values()
        for segments in targets.values()
        for segment in segments
        if segment.startswith((LANGUAGE, SCRIPT))
    }
    return [
        f"gate.guards.segments names {name}, which no case has (those that have enough items and "
        f"people: {', '.join(sorted(there)) or 'none'})"
        for name in params.gate.guards.languages
        if name not in there
    ]


def guarded(
    metrics: dict[str, Any], candidate: str, route: str, protocol: str, params: Params
) -> list[dict[str, Any]]:
    """Every number of a candidate that a guard looks at, with what it asks for (`demand`)."""
    return [
        looked_at(needed, _cell(metrics, candidate, needed), wanted)
        for needed, wanted in _needed(metrics, route, protocol, params)
    ]


def looked_at(needed: Needed, cell: dict[str, float], wanted: Demand) -> dict[str, Any]:
    """A number beside what is asked for."""
    place = dict(zip(("split", "target", "segment", "metric"), needed, strict=True))
    return {**place, "value": cell["value"], "high": cell["high"], **wanted}


def failures(found: list[dict[str, Any]]) -> list[str]:
    """Which numbers of `guarded` do not pass, in words.

    A value fails when even the upper end of its interval lies below the least that is allowed, so
    that a handful of people cannot decide.
    """
    place = "{metric} {value:.4f} (at most {high:.4f}) on {split}/{target}/{segment}"
    line = f"{place} is below the guard's {{least:.4f}}"
    return [line.format(**one) for one in found if one["high"] < one["least"]]


def held(found: list[dict[str, Any]]) -> str:
    """The numbers of `guarded` of a candidate that passes, in words; empty where there are none."""
    line = "{metric} {value:.4f} on {split}/{target}/{segment} (guard: {allowed})"
    return ", ".join(line.format(**one, allowed=allowed(one)) for one in found)


def allowed(one: dict[str, Any]) -> str:
    """What a guard asks for, in words."""
    return str(one.get("why", f"{one['least']:.4f}"))
