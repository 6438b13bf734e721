"""What a blend does after mixing: the first items are looked at again (`training.reranking`)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bridgerec.data.dataset import Histories
from bridgerec.models.base import Arrays, under
from bridgerec.models.scores import Floats
from bridgerec.models.trends import Trends
from bridgerec.training.choices import PADDING, Choices
from bridgerec.training.lists import Lists
from bridgerec.training.mixing import Mixture
from bridgerec.training.reranking import Listing, Reranker, features, learn_reranker

Gains = NDArray[np.float64]


class SecondLook:
    """One reranker per mixture of a target (`rerankers`), where people they did not learn from gain
    from them by more than a standard error of NDCG; elsewhere the mixture answers alone."""

    def __init__(self, top: int) -> None:
        self.top = top
        self.rerankers: dict[str, list[Reranker]] = {}

    def learn(
        self, target: str, block: slice, mixtures: Sequence[Mixture], choices: Choices,
        fold: NDArray[np.int64], trends: Trends, seed: int,
    ) -> None:  # fmt: skip
        """From what people chose, dealt into folds: `mixtures[i]` was learned without fold i, and
        the last one from all."""
        total, found, gains = choices.relevant.sum(1), list[Reranker](), list[Gains]()
        for i, mixture in enumerate(mixtures):
            mixed = _mixed(choices, mixture)
            first = np.argsort(-mixed, axis=1, kind="stable")[:, : self.top]
            listing = _listing(choices, mixed, first, block, trends)
            reranker = learn_reranker(listing.take(fold != i), seed)
            if reranker is None:
                return
            found.append(reranker)
            judged = fold == i
            own, lists = listing.take(judged), Lists(listing.relevant[judged], total[judged])
            after = np.where(own.present, reranker.score(own.features), PADDING)
            gains.append(lists.ndcg(after) - lists.ndcg(own.mixed))
        gain = np.concatenate(gains)
        if len(gain) and gain.mean() > gain.std() / len(gain) ** 0.5:
            self.rerankers[target] = found

    def __call__(
        self, target: str, block: slice, mixed: Floats, members: Sequence[Floats],
        histories: Histories, which: NDArray[np.int64], person: Floats, trends: Trends,
    ) -> Floats:  # fmt: skip
        """New scores of all items from the `mixed` ones (batch, items): the first move among each
        other, all others keep their order behind them.  `which` reranker is for whom."""
        import torch

        size = min(self.top, mixed.shape[1])
        first = torch.from_numpy(mixed).topk(size, dim=1).indices.numpy()
        own = np.stack([np.take_along_axis(m, first, axis=1) for m in members], axis=2)
        x = features(own, _trends(trends, histories.moment, first + block.start), person)
        scores = np.empty(first.shape, dtype=np.float32)
        for i in np.unique(which):
            scores[which == i] = self.rerankers[target][i].score(x[which == i])
        found = mixed.copy()
        if size < mixed.shape[1]:
            np.put_along_axis(found, first, -np.inf, axis=1)
            # a step apart, so that none of them ties
            found += scores.min(axis=1, keepdims=True) - found.max(axis=1, keepdims=True) - 1
        np.put_along_axis(found, first, scores, axis=1)
        return found

    def arrays(self) -> Arrays:
        return {
            f"{target}/{name}": np.stack([getattr(one, name) for one in found])
            for target, found in self.rerankers.items()
            for name in Reranker.names()
        }

    def restore(self, arrays: Arrays) -> None:
        for target in {name.rpartition("/")[0] for name in arrays}:
            own = under(arrays, f"{target}/")
            parts = zip(*(own[name] for name in Reranker.names()), strict=True)
            self.rerankers[target] = [Reranker(*part) for part in parts]


def person_of(segment: NDArray[np.int64], told: Floats) -> Floats:
    """What a reranker is told of a person, (n, features)."""
    return np.hstack([segment[:, None].astype(np.float32), told])


def _trends(trends: Trends, moment: NDArray[np.int64], items: NDArray[np.int64]) -> Floats:
    return np.stack(
        [trends.of_items(k, moment, items) for k in range(len(trends.half_lives))], axis=2
    )


def _mixed(choices: Choices, mixture: Mixture) -> Floats:
    """Scores in a mixture; what was picked at random is no candidate."""
    weights = mixture.weights(choices.segment, choices.features)
    scores = (choices.scores @ weights[:, :, None])[:, :, 0]
    return np.where(choices.log_copies == 0, scores, PADDING)


def _listing(
    choices: Choices, mixed: Floats, first: NDArray[np.int64], block: slice, trends: Trends
) -> Listing:
    """Those items of the choices that come `first` (n, top)."""
    members = np.take_along_axis(choices.scores, first[:, :, None], axis=1)
    items = np.take_along_axis(choices.items, first, axis=1) + block.start
    person = person_of(choices.segment, choices.features)
    return Listing(
        features(members, _trends(trends, choices.moment, items), person),
        np.take_along_axis(choices.relevant, first, axis=1),
        np.take_along_axis(mixed, first, axis=1),
    )
