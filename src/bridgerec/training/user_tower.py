"""A person as a weighted sum of what they met.

How much an item pulls depends on how many others came after it and on the pair of domains (asked,
seen); with `attention` also on the newest item.  The sum goes through a head of the asked domain.
"""

import math

import torch
from torch import Tensor, nn

from bridgerec.training.item_tower import unit


class UserTower(nn.Module):
    def __init__(self, size: int, domains: int, lags: int, recency: float, attention: bool) -> None:
        super().__init__()
        fading = torch.arange(lags) * math.log(recency)
        self.pull = nn.Parameter(fading.repeat(domains, domains, 1))  # asked, seen, lag; logs
        self.head = nn.Parameter(torch.eye(size).repeat(domains, 1, 1))
        self.attend = nn.Parameter(torch.zeros(size, size)) if attention else None

    def forward(self, entries: Tensor, kind: Tensor, visible: Tensor, asked: Tensor) -> Tensor:
        """Unit vectors of P questions about each history, shape (batch, P, size).

        `entries` (batch, length, size) are item vectors, oldest first, `kind` (batch, length)
        their domains; `visible` (batch, P, length) says what each question may look at and
        `asked` (batch, P) which domain it is about.  Nothing visible gives a zero vector.
        """
        later = visible.flip(2).cumsum(2).flip(2) - visible.long()
        lag = later.clamp(max=self.pull.shape[2] - 1)
        logits = self.pull[asked[:, :, None], kind[:, None, :], lag]
        if self.attend is not None:
            place = torch.arange(kind.shape[1])
            newest = torch.where(visible, place, 0).amax(2)
            query = entries.gather(1, newest[..., None].expand(-1, -1, entries.shape[2]))
            logits = logits + query @ self.attend @ entries.transpose(1, 2)
        logits = logits.masked_fill(~visible, -torch.inf)
        top = logits.amax(2, keepdim=True).clamp(min=-1e4).detach()
        summed = (logits - top).exp() @ entries
        found = torch.zeros_like(summed)
        for d in range(len(self.head)):
            mine = asked == d
            found[mine] = summed[mine] @ self.head[d]
        return unit(found)
