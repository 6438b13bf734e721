"""What happened to an item, and what will: events of several kinds (view, like, purchase, …).

Two tasks share one body.  The first asks which item comes next, whatever happens to it; the second
asks what happens to it, of the item that came.  So the probability of a purchase factors as in
ESMM (Ma et al., SIGIR 2018): p(item) · p(purchase | person, item), and a question for one kind
adds the second's logarithm to the first's logits.  The tasks' losses are weighed by hand, or each
by how uncertain it is (Kendall et al., CVPR 2018).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from torch import Tensor, nn

from bridgerec.data.dataset import Histories

HIDDEN = 0.2  # of the people show no kinds in a step, because a request need not tell them


class EventOptions(BaseModel):
    """`event_input`: entries tell what happened.  `event_weight` of the loss of what will happen,
    relative to that of the next item; 0 is off, null weighs both by their uncertainty.  Both are
    without effect where the tables tell no kinds."""

    event_input: bool = False
    event_weight: float | None = Field(0.0, ge=0)

    @property
    def asks_kinds(self) -> bool:
        return self.event_weight != 0


class EventKinds(nn.Module):
    """`entry` (kinds + 1, size) is added to what attention reads, its last row for unknown;
    the other parts tell a kind's logits from person and item, per domain."""

    def __init__(self, kinds: int, domains: int, size: int) -> None:
        super().__init__()
        self.entry = nn.Parameter(torch.zeros(kinds + 1, size))
        self.usual = nn.Parameter(torch.zeros(domains, kinds))
        self.both = nn.Parameter(torch.zeros(kinds, size))
        self.person = nn.Parameter(torch.zeros(kinds, size))
        self.item = nn.Parameter(torch.zeros(kinds, size))
        self.doubt = nn.Parameter(torch.zeros(2))  # log variances of the two tasks

    def forward(self, d: int, users: Tensor, items: Tensor) -> Tensor:
        """Logits of the kinds for each person (n, size) with the item of domain number `d` beside
        them (n, size), shape (n, kinds)."""
        told = (users * items) @ self.both.T + users @ self.person.T + items @ self.item.T
        return users.shape[1] ** 0.5 * told + self.usual[d]

    def wanted(self, d: int, users: Tensor, items: Tensor, kind: Tensor) -> Tensor:
        """What a wish for events of `kind` (n,) adds to the logits, (n, m); nothing at -1."""
        found = torch.zeros(len(users), len(items))
        rows, scale = torch.nonzero(kind >= 0)[:, 0], users.shape[1] ** 0.5
        every = torch.full((len(rows), len(items)), -torch.inf)
        for k in range(len(self.both)):  # one at a time: (n, m, kinds) may not fit
            own = users[rows] * self.both[k] + self.item[k]
            logits = scale * (own @ items.T + (users[rows] @ self.person[k])[:, None])
            logits += self.usual[d, k]
            every = torch.logaddexp(every, logits)
            mine = kind[rows] == k
            found[rows[mine]] = logits[mine]
        found[rows] -= every
        return found

    def joined(self, item: Tensor, kind: Tensor, weight: float | None) -> Tensor:
        """One loss of both tasks' losses."""
        if weight is not None:
            return item + weight * kind
        return ((-self.doubt).exp() * torch.stack([item, kind])).sum() + self.doubt.sum() / 2


def table_of(histories: Histories, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """The entries' kinds laid out as `padded` does without a length; -1 where unknown."""
    found = np.full(shape, -1, dtype=np.int64)
    if histories.event_kind is not None:
        place = np.arange(len(histories.items)) - histories.indptr[:-1][histories.rows]
        found[histories.rows, place] = histories.event_kind
    return found
