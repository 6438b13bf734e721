"""Weights of a mixture of scores, as a function of what is known of a person.

    w(x) = softplus(A[segment(x)] + f(x) B)

Chosen by maximum likelihood of what people met next, under a softmax over the target's items
(listwise cross-entropy, Cao et al., ICML 2007): a smooth, convex-like stand-in for NDCG that also
sets the right scale.  Segments lean on their common mean.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.training.choices import Choices
from bridgerec.training.lists import Lists

Floats = NDArray[np.float32]
FACTORS = (0.5, 0.7, 1.4, 2.0)
ROUNDS = 6
LEAST_GAIN = 1e-5


@dataclass(frozen=True)
class Mixture:
    """`a` (segments, members), `b` (features, members) and `factor` (members,)."""

    a: Floats
    b: Floats
    factor: Floats

    def weights(self, segment: NDArray[np.int64], features: Floats) -> Floats:
        """Non-negative weights, shape (n, members)."""
        found = np.logaddexp(0, self.a[segment] + features @ self.b) * self.factor
        return np.asarray(found, dtype=np.float32)

    def only(self, members: Any) -> "Mixture":
        """The mixture of some members (a mask, or places)."""
        return Mixture(self.a[:, members], self.b[:, members], self.factor[members])


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
        return Mixture((common + own).numpy(), b.numpy(), np.ones(members, dtype=np.float32))


def sharpen(mixture: Mixture, choices: Choices) -> Mixture:
    """The mixture with a factor per member that raises NDCG on the choices.

    Likelihood looks at all items, a list shows the first few; coordinate ascent over `FACTORS`
    moves the few numbers in which the two differ.
    """
    weights = mixture.weights(choices.segment, choices.features)
    parts = [choices.scores[:, :, m] * weights[:, [m]] for m in range(weights.shape[1])]
    lists = Lists(choices.relevant, choices.relevant.sum(1))

    def value(mixed: Floats) -> float:
        return float(lists.ndcg(mixed).mean())

    factor, mixed = np.ones(len(parts)), np.sum(parts, axis=0)
    mixed[choices.log_copies < -1e8] = -np.inf  # padding, whatever is added to it
    highest = value(mixed)
    for _ in range(ROUNDS):
        before = highest
        for m, part in enumerate(parts):
            for size in FACTORS:
                tried = mixed + np.float32(size * factor[m] - factor[m]) * part
                if (found := value(tried)) > highest + LEAST_GAIN:
                    highest, chosen = found, size
                    best_mixed = tried
                    break
            else:
                continue
            factor[m] *= chosen
            mixed = best_mixed
        if highest == before:
            break
    return Mixture(mixture.a, mixture.b, factor.astype(np.float32))
