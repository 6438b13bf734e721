"""What the clicks say: rates per route, domain and language, and what a shadow release would have
earned."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.monitoring.feedback import (
    Clicks,
    CorrectedRate,
    Impressions,
    Joined,
    Rate,
    click_rate,
    corrected_rate,
    join,
)
from bridgerec.monitoring.offpolicy import ItemRewards, OffPolicy, off_policy
from bridgerec.monitoring.traffic import Traffic

HOUR = 3600.0
LEAST = 50  # impressions of a segment; fewer are not shown
NOT_ASKED = -2


@dataclass(frozen=True)
class Segment:
    """One `kind` ("all", "route", "domain" or "language") and its `name`, with both rates."""

    kind: str
    name: str
    rate: Rate
    corrected: CorrectedRate | None


@dataclass(frozen=True)
class Quality:
    """Segments from impressions whose click window is over; `waiting` are the others.  `shadow`
    estimates the clicks of each shadow release on the same impressions."""

    segments: tuple[Segment, ...]
    waiting: int
    late: int
    unmatched: int
    shadow: dict[str, OffPolicy]

    @property
    def words(self) -> str:
        """One sentence on the whole, one on each shadow release."""
        if not self.segments:
            return f"not judged: fewer than {LEAST} impressions have had their time to be clicked."
        rate, corrected = self.segments[0].rate, self.segments[0].corrected
        text = (
            f"{rate.value:.2%} of {rate.impressions:,} impressions were clicked "
            f"({rate.low:.2%} to {rate.high:.2%})"
        )
        if corrected is not None:
            text += (
                f"; {corrected.value:.2%} if all had been looked at as the top one "
                f"({corrected.low:.2%} to {corrected.high:.2%})"
            )
        for release, found in self.shadow.items():
            e = found.doubly_robust or found.snips
            text += (
                f". Shadow {release}: {e.value:.2%} ({e.low:.2%} to {e.high:.2%}) by "
                f"{'the doubly robust estimate' if found.doubly_robust else 'SNIPS'}"
            )
            if found.warnings:
                text += f" (not to be believed: {'; '.join(found.warnings)})"
        return text + "."


def judge_quality(
    impressions: Impressions,
    clicks: Clicks,
    window_hours: float,
    now: float,
    shadow: dict[str, NDArray[np.int64]] | None = None,
    language: NDArray[np.str_] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Quality:
    """Rates of all, of each route, of each domain, and of each language.

    `language` (n,) is that of the shown item, "" for unknown; one language alone is `all`.
    `shadow` names other policies and, per impression (n,), the item that each would have shown in
    its place (-1: none, `NOT_ASKED`: unknown).
    """
    joined = join(impressions, clicks, window_hours * HOUR, now)
    mature = joined.mature
    segments = []
    groups = [("all", "all", mature)]
    for kind, names in (("route", impressions.route), ("domain", impressions.domain)):
        groups += [(kind, str(name), mature & (names == name)) for name in np.unique(names)]
    if language is not None:
        found = [str(name) for name in np.unique(language) if name]
        if len(found) > 1:
            groups += [("language", name, mature & (language == name)) for name in found]
    for kind, name, rows in groups:
        if rows.sum() >= LEAST:
            segments.append(_segment(kind, name, impressions, joined, rows, confidence, seed))
    estimates = {}
    if segments:
        estimates = {
            name: _other(impressions, joined, items, confidence, seed)
            for name, items in (shadow or {}).items()
            if (mature & (items != NOT_ASKED)).sum() >= LEAST
        }
    return Quality(tuple(segments), int((~mature).sum()), joined.late, joined.unmatched, estimates)


def _segment(
    kind: str,
    name: str,
    impressions: Impressions,
    joined: Joined,
    rows: NDArray[np.bool_],
    confidence: float,
    seed: int,
) -> Segment:
    clicked, request = joined.clicked[rows], impressions.request[rows]
    item, position = impressions.item[rows], impressions.position[rows]
    return Segment(
        kind,
        name,
        click_rate(clicked, request, confidence),
        corrected_rate(item, position, clicked, request, confidence, seed=seed),
    )


def _other(
    impressions: Impressions,
    joined: Joined,
    items: NDArray[np.int64],
    confidence: float,
    seed: int,
) -> OffPolicy:
    rows = joined.mature & (items != NOT_ASKED)
    reward = joined.clicked[rows].astype(np.float64)
    item, position = impressions.item[rows], impressions.position[rows]
    request, propensity, other = (
        impressions.request[rows],
        impressions.propensity[rows],
        items[rows],
    )
    predicted = None
    if propensity.min() < 1:  # without chance in the log, a reward model would be all there is
        model = ItemRewards(item, position, reward, request)
        none = other < 0
        predicted = (model.of(item, position), np.where(none, 0, model.of(other, position)))
    same = (item == other).astype(np.float64)
    return off_policy(
        reward, propensity, same, request, predicted, confidence=confidence, seed=seed
    )


def shadow_items(
    traffic: Traffic,
    impressions: Impressions,
    names: list[str],
    index: dict[tuple[str, str], int],
) -> dict[str, NDArray[np.int64]]:
    """For `judge_quality`: what each shadow release answered to the same requests, place by place.
    An answer belongs to a request of the same id, or else with the same history."""
    releases: dict[str, dict[Any, dict[int, int]]] = {}
    for line in traffic.shadows:
        target, own = str(line["target"]), releases.setdefault(str(line["release"]), {})
        ranks = line.get("ranks") or range(1, len(line["items"]) + 1)
        shown = {
            int(rank): index.get((target, item), -1)
            for item, rank in zip(line["items"], ranks, strict=False)
        }
        own[target, str(line["request_id"])] = own[target, _past(line)] = shown
    past = {(str(r["target"]), str(r["request_id"])): _past(r) for r in traffic.requests}
    found = {}
    for release, own in releases.items():
        items = np.full(len(impressions), NOT_ASKED)
        for i, request in enumerate(impressions.request.tolist()):
            target, name = str(impressions.domain[i]), names[request]
            answer = own.get((target, name), own.get((target, past.get((target, name)))))
            if answer is not None:
                items[i] = answer.get(int(impressions.position[i]), -1)
        found[release] = items
    return found


def _past(line: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((domain, item) for domain, item in line["history"])
