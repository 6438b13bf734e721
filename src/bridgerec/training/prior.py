"""What speaks for an item whoever asks, and how far a person goes along with it."""

import torch
from torch import Tensor, nn

FOLLOWS = 2.0  # the most that a person can follow trends; 1 is usual


class Prior(nn.Module):
    """What is added to a score: learned weights of log popularity and of trends of several
    half-lives, per domain.

    Popularity has one weight for people who are new in the domain (cold) and one for the others
    (warm).  Trends have two sets: the question came right after the newest entry, or at a time of
    its own (`timed`).  How much trends move somebody is read from their state.
    """

    def __init__(self, domains: int, trends: int, size: int) -> None:
        super().__init__()
        self.popular = nn.Parameter(torch.full((domains, 2), 0.1))
        self.trend = nn.Parameter(torch.full((2, domains, trends), 0.1))
        self.follow = nn.Parameter(torch.zeros(2, domains, 2, size))
        self.usual = nn.Parameter(torch.zeros(2, domains, 2))

    def forward(
        self, d: int, timed: int, states: Tensor, warm: Tensor, popularity: Tensor, lift: Tensor
    ) -> Tensor:
        """For people with `states` (n, size), `warm` (n,) bool: shape (n, m).

        `popularity` (n or 1, m) is logarithmic; `lift` (n or 1, m) comes from `self.lift`.
        """
        weight, follow = self.weights(d, timed, states, warm)
        return weight[:, None] * popularity + follow[:, None] * lift

    def weights(self, d: int, timed: int, states: Tensor, warm: Tensor) -> tuple[Tensor, Tensor]:
        """How much popularity and how much trends count for each person, both (n,)."""
        kind = warm.long()
        follow = (states * self.follow[timed, d].index_select(0, kind)).sum(1)
        follow = FOLLOWS * torch.sigmoid(follow + self.usual[timed, d].index_select(0, kind))
        return self.popular[d].index_select(0, kind), follow

    def lift(self, d: int, timed: int, trends: Tensor) -> Tensor:
        """What trends (..., half-lives) add for somebody who follows them as is usual, (...)."""
        return trends @ self.trend[timed, d]
