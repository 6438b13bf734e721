"""For whom, and for which items, a model is good: subsets of cases and of relevant items."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridgerec.config import LANGUAGE, SCRIPT
from bridgerec.data.dataset import Cases, Catalogue, Histories, Training
from bridgerec.encoders.scripts import main_scripts

LEAST = 20  # items of the target, and people asked about them, that make a language a segment


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
class Languages:
    """In which language each item is: `number` (n_items,) points into `names`, the segments'
    names, whose first is "" (unknown).

    That is what the catalogue's column `language` says (`language_en`) in a domain that fills it,
    and elsewhere, for want of better, the script of most letters of the title (`script_latin`).
    """

    names: tuple[str, ...]
    number: NDArray[np.int64]

    @classmethod
    def of(cls, catalogue: Catalogue) -> "Languages":
        scripts, number = main_scripts(catalogue.items["title"].fill_null("").to_list())
        names = [_named(SCRIPT, script) for script in scripts]
        if "language" in catalogue.items.columns:
            column = catalogue.items["language"].fill_null("")
            own = {said: _named(LANGUAGE, said) for said in column.unique().to_list()}
            spoken = sorted(set(own.values()) - {""})
            place = {"": 0} | {name: len(names) + i for i, name in enumerate(spoken)}
            names += spoken
            places = {said: place[name] for said, name in own.items()}
            told = column.replace_strict(places, return_dtype=pl.Int64).to_numpy()
            for block in map(catalogue.block, catalogue.domains):
                if told[block].any():
                    number[block] = told[block]
        return cls(tuple(names), number)


def _named(kind: str, name: str) -> str:
    """`script_chinese_characters` of "Chinese characters"; "" of a name without a letter."""
    plain = re.sub(r"\W+", "_", name.strip().lower())
    return kind + plain if plain.strip("_") else ""


def by_language(segments: dict[str, dict[str, Any]], metric: str) -> dict[str, dict[str, float]]:
    """The cells {value, low, high} of `metric` in the segments that are languages or scripts; empty
    where it was not measured."""
    own = {s: cells for s, cells in segments.items() if s.startswith((LANGUAGE, SCRIPT))}
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
    cases: Cases, training: Training, catalogue: Catalogue, languages: Languages
) -> Iterator[Segment]:
    """All segments that are not empty, and the languages of the target where it has two or more."""
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
    yield from _by_language(cases, block, languages)


def _by_language(cases: Cases, block: slice, languages: Languages) -> Iterator[Segment]:
    """Relevant items by language.  One alone would be `all` once more; one of fewer than `LEAST`
    items or people says nothing."""
    items = np.bincount(languages.number[block], minlength=len(languages.names))
    asked = languages.number[cases.relevant.items]
    found = []
    for number, name in enumerate(languages.names):
        segment = Segment(name, asked == number)
        people = segment.people(cases.relevant)[0].sum()
        if name and min(items[number], people) >= LEAST:
            found.append(segment)
    if len(found) > 1:
        yield from found
