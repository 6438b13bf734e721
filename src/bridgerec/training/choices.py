"""What the weights of a mixture are learned from: a few items per case, each with many scores."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Picked = tuple[Floats, Bools, Floats]
PADDING = np.float32(-1e9)


@dataclass(frozen=True)
class Choices:
    """Per case the items to choose from, shape (cases, width): the `scores` (…, members) that
    the members give them, whether they are `relevant`, and `log_copies`: how many items of the
    catalogue each stands for (very negative: padding)."""

    scores: Floats
    relevant: NDArray[np.bool_]
    log_copies: Floats
    segment: NDArray[np.int64]  # (cases,)
    features: Floats  # (cases, features)

    def take(self, rows: NDArray[np.bool_]) -> "Choices":
        return Choices(
            self.scores[rows], self.relevant[rows], self.log_copies[rows],
            self.segment[rows], self.features[rows],
        )  # fmt: skip

    @classmethod
    def of(cls, picked: list[Picked], segment: NDArray[np.int64], features: Floats) -> "Choices":
        """One case per entry of `picked`, padded to the widest."""
        width, members = max(len(own[1]) for own in picked), picked[0][0].shape[1]
        scores = np.zeros((len(picked), width, members), dtype=np.float32)
        relevant = np.zeros((len(picked), width), dtype=bool)
        log_copies = np.full((len(picked), width), PADDING, dtype=np.float32)
        for i, (own, right, number) in enumerate(picked):
            scores[i, : len(own)], relevant[i, : len(own)] = own, right
            log_copies[i, : len(own)] = number
        return cls(scores, relevant, log_copies, segment, features)


def pick(
    scores: Floats, hidden: Bools, right: Bools, top: int, others: int, rng: np.random.Generator
) -> list[Picked]:
    """Per case the relevant items (`right`), the `top` of every member, and `others` at random,
    which stand for all that were not drawn.

    `scores` (n, items, members); `hidden` (n, items) are never picked unless they are right.
    """
    size, wanted = min(top, scores.shape[1]), right.copy()
    for m in range(scores.shape[2]):
        ranked = np.where(hidden, PADDING, scores[:, :, m])
        best = np.argpartition(-ranked, size - 1, axis=1)[:, :size]
        np.put_along_axis(wanted, best, True, axis=1)
    left = ~wanted & ~hidden
    drawn = left & (rng.random(left.shape) < others / np.maximum(left.sum(1), 1)[:, None])
    copies = np.log(np.maximum(left.sum(1), 1) / np.maximum(drawn.sum(1), 1))
    found = []
    for i in range(len(scores)):
        items = np.flatnonzero((wanted[i] & ~hidden[i]) | drawn[i] | right[i])
        log_copies = np.where(drawn[i, items], copies[i], 0).astype(np.float32)
        found.append((scores[i, items], right[i, items], log_copies))
    return found
