"""Weights of a mixture of scores, as a function of what is known of a person.

    w(x) = softplus(A[segment(x)] + f(x) B)

Chosen by maximum likelihood of what people met next, under a softmax over the target's items
(listwise cross-entropy, Cao et al., ICML 2007): a smooth, convex-like stand-in for NDCG that also
sets the right scale.  Segments lean on their common mean.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


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


@dataclass(frozen=True)
class Mixture:
    """`a` (segments, members) and `b` (features, members)."""

    a: Floats
    b: Floats

    def weights(self, segment: NDArray[np.int64], features: Floats) -> Floats:
        """Non-negative weights, shape (n, members)."""
        found = np.logaddexp(0, self.a[segment] + features @ self.b)
        return np.asarray(found, dtype=np.float32)


def learn_mixture(choices: Choices, segments: int, regularization: float, steps: int) -> Mixture:
    """The likeliest mixture, by L-BFGS from equal weights; no random number is drawn."""
    import torch

    scores, relevant, log_copies, features = (
        torch.from_numpy(np.asarray(part, dtype=np.float32))
        for part in (choices.scores, choices.relevant, choices.log_copies, choices.features)
    )
    segment, members = torch.from_numpy(choices.segment), scores.shape[2]
    common = torch.full((members,), -1.0, requires_grad=True)
    own = torch.zeros(segments, members, requires_grad=True)
    b = torch.zeros(features.shape[1], members, requires_grad=True)
    optimizer = torch.optim.LBFGS([common, own, b], max_iter=steps, line_search_fn="strong_wolfe")
    share = relevant / relevant.sum(1, keepdim=True)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        weights = torch.nn.functional.softplus(common + own[segment] + features @ b)
        mixed = (scores @ weights[:, :, None])[:, :, 0]
        every = torch.logsumexp(mixed + log_copies, 1)
        loss = (every - (mixed * share).sum(1)).mean()
        loss = loss + regularization * (own.square().sum() + b.square().sum())
        loss = loss + 0.1 * regularization * common.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        return Mixture((common + own).numpy(), b.numpy())
