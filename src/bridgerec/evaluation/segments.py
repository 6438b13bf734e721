"""For whom, and for which items, a model is good: subsets of cases and of relevant items."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridgerec.data.dataset import Cases, Catalogue, Training


@dataclass(frozen=True)
class Segment:
    """`relevant` marks the entries of `cases.relevant.items` that count; a case belongs to the
    segment when it has at least one."""

    name: str
    relevant: NDArray[np.bool_]


def popularity_groups(count: NDArray[np.int64]) -> NDArray[np.int8]:
    """Per item 0 head (the fewest items with half of the rows), 1 mid, 2 tail (the last fifth
    of the rows), 3 cold (no row)."""
    order = np.argsort(-count, kind="stable")
    before = (np.cumsum(count[order]) - count[order]) / max(int(count.sum()), 1)
    group = np.empty(len(count), dtype=np.int8)
    group[order] = np.where(before < 0.5, 0, np.where(before < 0.8, 1, 2))
    group[count == 0] = 3
    return group


def segments(cases: Cases, training: Training, catalogue: Catalogue) -> Iterator[Segment]:
    """All segments that are not empty."""
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
