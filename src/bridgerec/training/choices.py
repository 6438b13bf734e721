"""What the weights of a mixture are learned from: a few items per case, each with many scores."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Picked = tuple[NDArray[np.int64], Floats, Bools, Floats]
PADDING = np.float32(-1e9)


@dataclass(frozen=True)
class Choices:
    """Per case the `items` to choose from, shape (cases, width), as places in the target: the
    `scores` (…, members) that the members give them, whether they are `relevant`, and
    `log_copies`: how many items of the catalogue each stands for (very negative: padding)."""

    items: NDArray[np.int32]
    scores: Floats
    relevant: NDArray[np.bool_]
    log_copies: Floats
    segment: NDArray[np.int64]  # (cases,)
    features: Floats  # (cases, features)
    moment: NDArray[np.int64]  # (cases,)

    def take(self, rows: NDArray[np.bool_]) -> "Choices":
        return Choices(
            self.items[rows], self.scores[rows], self.relevant[rows], self.log_copies[rows],
            self.segment[rows], self.features[rows], self.moment[rows],
        )  # fmt: skip

    def only(self, members: NDArray[np.bool_]) -> "Choices":
        """The same choices, scored by some members alone."""
        return replace(self, scores=self.scores[:, :, members])

    @classmethod
    def of(
        cls, picked: list[Picked], segment: NDArray[np.int64], features: Floats,
        moment: NDArray[np.int64],
    ) -> "Choices":  # fmt: skip
        """One case per entry of `picked`, padded to the widest."""
        width, members = max(len(own[0]) for own in picked), picked[0][1].shape[1]
        items = np.zeros((len(picked), width), dtype=np.int32)
        scores = np.zeros((len(picked), width, members), dtype=np.float32)
        relevant = np.zeros((len(picked), width), dtype=bool)
        log_copies = np.full((len(picked), width), PADDING, dtype=np.float32)
        for i, (which, own, right, number) in enumerate(picked):
            items[i, : len(own)], scores[i, : len(own)] = which, own
            relevant[i, : len(own)], log_copies[i, : len(own)] = right, number
        return cls(items, scores, relevant, log_copies, segment, features, moment)


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
        found.append((items, scores[i, items], right[i, items], log_copies))
    return found
