"""For whom, and for which items, a model is good: subsets of cases and of relevant items."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.config import SCRIPT
from bridgerec.data.dataset import Cases, Catalogue, Histories, Training
from bridgerec.encoders.scripts import main_scripts

LEAST = 20  # items of the target, and people asked about them, that make a script a segment


@dataclass(frozen=True)
class Segment:
    """`relevant` marks the entries of `cases.relevant.items` that count; a case belongs to the
    segment when it has at least one."""

    name: str
    relevant: NDArray[np.bool_]

    def people(self, relevant: Histories) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Who belongs to it, (n,), and where each one's entries begin among the marked ones,
        (members + 1,)."""
        kept = np.bincount(relevant.rows[self.relevant], minlength=len(relevant))
        member = kept > 0
        return member, np.concatenate([[0], np.cumsum(kept[member])]).astype(np.int64)


@dataclass(frozen=True)
class Scripts:
    """In which script each item's title is written: `number` (n_items,) points into `names`, whose
    first is "" (no letters)."""

    names: tuple[str, ...]
    number: NDArray[np.int64]

    @classmethod
    def of(cls, catalogue: Catalogue) -> "Scripts":
        return cls(*main_scripts(catalogue.items["title"].fill_null("").to_list()))


def by_script(segments: dict[str, dict[str, Any]], metric: str) -> dict[str, dict[str, float]]:
    """The cells {value, low, high} of `metric` in the segments that are scripts; empty where it was
    not measured."""
    own = {s: cells for s, cells in segments.items() if s.startswith(SCRIPT)}
    return {s: cells[metric] for s, cells in own.items() if metric in cells}


def popularity_groups(count: NDArray[np.int64]) -> NDArray[np.int8]:
    """Per item 0 head (the fewest items with half of the rows), 1 mid, 2 tail (the last fifth
    of the rows), 3 cold (no row)."""
    order = np.argsort(-count, kind="stable")
    before = (np.cumsum(count[order]) - count[order]) / max(int(count.sum()), 1)
    group = np.empty(len(count), dtype=np.int8)
    group[order] = np.where(before < 0.5, 0, np.where(before < 0.8, 1, 2))
    group[count == 0] = 3
    return group


def segments(
    cases: Cases, training: Training, catalogue: Catalogue, scripts: Scripts
) -> Iterator[Segment]:
    """All segments that are not empty, and the scripts of the target where it has two or more."""
    block = catalogue.block(cases.target)
    own = cases.histories.within(block).lengths
    away = cases.histories.outside(block).lengths
    by_case = {
        "all": np.ones(len(cases), dtype=bool),
        "warm": own > 0,
        "history_1_4": (own >= 1) & (own <= 4),
        "history_5_9": (own >= 5) & (own <= 9),
        "history_10_plus": own >= 10,
        "cold_start": (own == 0) & (away > 0),
        "target_only": (own > 0) & (away == 0),
        "unknown": own + away == 0,
    }
    for domain in catalogue.domains:
        if domain != cases.target:
            by_case[f"from_{domain}"] = cases.histories.within(catalogue.block(domain)).lengths > 0
    rows = cases.relevant.rows
    for name, chosen in by_case.items():
        if chosen.any():
            yield Segment(name, chosen[rows])
    count = np.bincount(training.histories.items, minlength=len(catalogue))[block]
    group = popularity_groups(count)[cases.relevant.items - block.start]
    for number, name in enumerate(("head_items", "mid_items", "tail_items", "cold_items")):
        if (group == number).any():
            yield Segment(name, group == number)
    yield from _by_script(cases, block, scripts)


def _by_script(cases: Cases, block: slice, scripts: Scripts) -> Iterator[Segment]:
    """Relevant items by the script of most letters of their titles: `script_latin`,
    `script_chinese_characters`.  One script alone would be `all` once more; one of fewer than
    `LEAST` items or people says nothing about a language."""
    items = np.bincount(scripts.number[block], minlength=len(scripts.names))
    asked = scripts.number[cases.relevant.items]
    found = []
    for number, name in enumerate(scripts.names):
        plain = re.sub(r"\W+", "_", name.lower())
        segment = Segment(f"{SCRIPT}{plain}", asked == number)
        people = segment.people(cases.relevant)[0].sum()
        if name and min(items[number], people) >= LEAST:
            found.append(segment)
    if len(found) > 1:
        yield from found
