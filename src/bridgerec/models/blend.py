"""Blend: several candidates, mixed with weights that depend on what is known of a person.

Stacking (Wolpert 1992): the members are fitted on the older part of the training rows, the weights
are chosen for NDCG on the newer part, and then the members are fitted again on everything.  A
share of the overlapping people loses all rows of one domain in the first round, so that the weights
for people without a history in the target are learned too.  Scores are standardised per person.
Rows of validation and test are never seen.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bridgerec.config import Model
from bridgerec.data.dataset import Cases, Histories, Training, group_rows
from bridgerec.errors import ConfigError
from bridgerec.models.base import Arrays, Candidate, CandidateConfig, build, under

Floats = NDArray[np.float32]
GRID = (0.0, 0.1, 0.2, 0.35, 0.6, 1.0, 1.7, 3.0)  # what a weight may be beside the strongest
K = 10


class BlendConfig(CandidateConfig):
    """`members` as under `models` in params.yaml; `edges`: lengths of the target history at
    which a new set of weights begins; `max_cases` people per set are looked at.  `holdout` is the
    newest share of the rows by time, or "last": everybody's last row.  It should be like the
    protocol that judges: the first for `temporal`, the second for `leave_last`."""

    members: dict[str, Model] = Field(min_length=1)
    edges: tuple[int, ...] = (1, 5, 10)
    holdout: Annotated[float, Field(gt=0, lt=1)] | Literal["last"] = 0.1
    hidden: float = Field(0.2, ge=0, lt=1)
    max_cases: int = Field(1500, ge=10)


class Blend(Candidate):
    """score = sum over members of weight(target, target history length) * standardised score."""

    config_class = BlendConfig

    def __init__(self, config: CandidateConfig | None = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        if config is None:
            raise ConfigError("a blend needs `members`: candidates with their options.")
        self.members = self._build()
        self.random = any(m.random for m in self.members.values())  # type: ignore[misc]
        self.uses_vectors = any(m.uses_vectors for m in self.members.values())  # type: ignore[misc]

    def _build(self) -> dict[str, Candidate]:
        return {name: build(name, m, self.seed) for name, m in self.config.members.items()}

    def fit(self, training: Training) -> None:
        older, asked = self._hold_out(training)
        for member in self.members.values():
            member.train(older)
        self.weights = {d: self._weigh(cases) for d, cases in asked.items()}
        self.members = self._build()
        for member in self.members.values():
            member.train(training)

    def _hold_out(self, training: Training) -> tuple[Training, dict[str, Cases]]:
        """The rows to fit the members on, and what the weights are chosen by, per target."""
        c, rows, rng = self.config, training.histories, np.random.default_rng(self.seed)
        person, n = rows.rows, len(rows)
        domain = training.catalogue.domain_of(rows.items)
        if training.timestamp is None or c.holdout == "last":
            newer = (rows.age == 0) & (rows.lengths[person] >= 3)
        else:
            newer = training.timestamp >= np.quantile(training.timestamp, 1 - c.holdout)
        present = np.zeros((n, len(self.domains)), dtype=bool)
        present[person, domain] = True
        # which domain each person loses, -1 for most
        lost = rng.integers(0, len(self.domains), n)
        loses = (rng.random(n) < c.hidden) & (present.sum(1) > 1) & present[np.arange(n), lost]
        lost = np.where(loses, lost, -1)
        away = lost[person] == domain
        keep = ~newer & ~away
        asked = {}
        for d, name in enumerate(self.domains):
            wanted = (domain == d) & (newer | away)
            people, relevant = group_rows(person[wanted], rows.items[wanted], rows.weights[wanted])
            history = rows.where(keep).take(people)
            asked[name] = Cases(name, people, history, relevant)
        left = rows.where(keep)
        filled = np.flatnonzero(left.lengths)
        time = None if training.timestamp is None else training.timestamp[keep]
        older = replace(
            training, users=training.users[filled], histories=left.take(filled), timestamp=time
        )
        return older, asked

    def _segment(self, histories: Histories, target: str) -> NDArray[np.int64]:
        known = histories.within(self.block(target)).lengths
        return np.searchsorted(self.config.edges, known, side="right")

    def _weigh(self, cases: Cases) -> Floats:
        """Weights (segments, members); a segment with too few cases takes the mean of others."""
        segment = self._segment(cases.histories, cases.target)
        rng = np.random.default_rng(self.seed)
        found: list[Floats | None] = []
        for number in range(len(self.config.edges) + 1):
            rows = rng.permutation(np.flatnonzero(segment == number))[: self.config.max_cases]
            found.append(self._climb(cases, np.sort(rows)) if len(rows) >= 10 else None)
        known = [w for w in found if w is not None]
        usual = np.mean(known, axis=0) if known else np.ones(len(self.members))
        return np.stack([usual if w is None else w for w in found]).astype(np.float32)

    def _climb(self, cases: Cases, rows: NDArray[np.int64]) -> Floats:
        """Coordinate ascent on NDCG@10 over a grid, from the best single member."""
        histories, relevant = cases.histories.take(rows), cases.relevant.take(rows)
        block = self.block(cases.target)
        seen = histories.within(block)
        scores = [standardised(m.score(histories, cases.target)) for m in self.members.values()]
        for own in scores:
            own[seen.rows, seen.items - block.start] = -1e6
        value = _ndcg(scores, relevant.rows, relevant.items - block.start, relevant.lengths)
        alone = [value(row) for row in np.eye(len(scores))]
        best, weights = max(alone), np.eye(len(scores))[int(np.argmax(alone))]
        for _ in range(3):
            before = best
            for i in np.argsort(alone, kind="stable")[::-1]:
                for size in GRID:
                    tried = weights.copy()
                    tried[i] = size
                    if tried.any() and (found := value(tried)) > best:
                        best, weights = found, tried
            if best == before:
                break
        return weights.astype(np.float32)

    def score(self, histories: Histories, target: str) -> Floats:
        weights = self.weights[target][self._segment(histories, target)]
        block = self.block(target)
        total = np.zeros((len(histories), block.stop - block.start), dtype=np.float32)
        for i, member in enumerate(self.members.values()):
            if weights[:, i].any():
                total += weights[:, [i]] * standardised(member.score(histories, target))
        return total

    def arrays(self) -> Arrays:
        members = {
            f"{name}/{key}": array
            for name, member in self.members.items()
            for key, array in member.arrays().items()
        }
        return {**members, **{f">{d}": w for d, w in self.weights.items()}}

    def restore(self, arrays: Arrays) -> None:
        self.weights = under(arrays, ">")
        for name, member in self.members.items():
            member._shape(self.domains, self.offsets)
            member.restore(under(arrays, f"{name}/"))


def standardised(scores: Floats) -> Floats:
    """Each row with mean 0 and deviation 1; a constant row becomes zeros."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-12)


def _ndcg(
    scores: list[Floats], row: NDArray[np.int64], item: NDArray[Any], lengths: NDArray[np.int64]
) -> Callable[[NDArray[np.float64]], float]:
    """Mean NDCG@10 of a mixture, as a function of its weights; ties count against it."""
    own = [s[row, item] for s in scores]
    gains = 1 / np.log2(np.arange(2, K + 2))
    ideal = np.cumsum(gains)[np.minimum(lengths, K) - 1]

    def value(weights: NDArray[np.float64]) -> float:
        used = np.flatnonzero(weights)
        mixed, mine = np.zeros_like(scores[0]), np.zeros_like(own[0])
        for i in used:
            mixed += np.float32(weights[i]) * scores[i]
            mine += np.float32(weights[i]) * own[i]
        better = np.array([(mixed[r] >= m).sum() - 1 for r, m in zip(row, mine, strict=True)])
        gain = np.where(better < K, gains[np.minimum(better, K - 1)], 0.0)
        return float((np.bincount(row, gain, len(lengths)) / ideal).mean())

    return value
