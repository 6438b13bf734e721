"""The traffic log as arrays: who was asked for, what was answered, in which window."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.monitoring.traffic import Traffic

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
DAY = 86_400.0


@dataclass(frozen=True)
class Answers:
    """n answers in time order.  `history` numbers distinct histories per target; `person` numbers
    what is probably one person: the log has no user ids, but a history keeps its oldest entries as
    it grows.  The lists lie end to end: answer i shows `items[start[i]:start[i + 1]]` (-1: not in
    the catalogue) with `scores`.
    """

    time: Floats
    route: NDArray[np.str_]
    target: NDArray[np.str_]
    release: NDArray[np.str_]
    history: Ints
    person: Ints
    k: Ints
    start: Ints
    items: Ints
    scores: Floats

    def __len__(self) -> int:
        return len(self.time)

    @property
    def lengths(self) -> Ints:
        return np.diff(self.start)

    def per_answer(self, values: Floats) -> Floats:
        """Means (n,) of a value per shown item, nan where nothing was shown."""
        total = np.add.reduceat(np.append(values, 0.0), self.start[:-1])
        length = self.lengths
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = np.where(length > 0, total / length, np.nan)
        return found

    def top(self) -> Floats:
        """The best score (n,) of each list, nan where nothing was shown."""
        padded = np.append(self.scores, np.nan)
        return np.where(self.lengths > 0, padded[self.start[:-1]], np.nan)

    def windows(self, days: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """The last `days` of the log and the same time before them; a log that does not reach back
        so far is halved."""
        if not len(self):
            return np.zeros(0, dtype=bool), np.zeros(0, dtype=bool)
        last = self.time[-1]
        now = self.time > last - days * DAY
        before = ~now & (self.time > last - 2 * days * DAY)
        if before.sum() < now.sum() / 10:
            now = np.arange(len(self)) >= len(self) // 2
            before = ~now
        return before, now


def read_answers(traffic: Traffic, index: dict[tuple[str, str], int]) -> Answers:
    """Arrays of a log; `index` numbers the items by (domain, item_id)."""
    histories: dict[Any, int] = {}
    people: dict[Any, int] = {}
    rows, items, scores, lengths = [], [], [], []
    for number, request in enumerate(traffic.requests):
        target = _text(request["target"])
        past = tuple((d, i) for d, i in request["history"])
        history = histories.setdefault((target, past), len(histories))
        person = people.setdefault(past[:2] or number, len(people))
        rows.append((request["time"], history, person, request["k"]))
        domains = request.get("domains") or [target] * len(request["items"])
        found = [index.get(pair, -1) for pair in zip(domains, request["items"], strict=False)]
        values = request["scores"][: len(found)]
        items += found
        scores += values + [np.nan] * (len(found) - len(values))
        lengths.append(len(found))
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    text = {
        name: np.array([_text(r[name]) for r in traffic.requests], dtype=np.str_)
        for name in ("route", "target", "release")
    }
    return Answers(
        time=table[:, 0],
        history=table[:, 1].astype(np.int64),
        person=table[:, 2].astype(np.int64),
        k=table[:, 3].astype(np.int64),
        start=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items=np.array(items, dtype=np.int64),
        scores=np.array(scores, dtype=np.float64),
        **text,
    )


def _text(value: Any) -> str:
    """A target or several, as one word."""
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def popularity_percentiles(count: NDArray[Any]) -> Floats:
    """Per item (n,), the share of items that are met less often, equal ones counted half."""
    order = np.sort(count)
    less = np.searchsorted(order, count, side="left")
    no_more = np.searchsorted(order, count, side="right")
    found: Floats = (less + no_more) / (2.0 * max(len(count), 1))
    return found
