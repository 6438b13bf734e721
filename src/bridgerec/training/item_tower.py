"""Item vectors from frozen language-model vectors: an adaptor and a residual of the item's own,
and between them (`training.fusion`) what the item looks like.

An adaptor starts as the identity, so that training bends the semantic space instead of finding it
again.  The residual is dropped at random while training, so that the text stays usable for items
nobody has met.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bridgerec.training.fusion import Fusion

Adaptor = Literal["linear", "mlp", "moe"]


def unit(vectors: Tensor) -> Tensor:
    """Unit length along the last axis; nothing stays nothing, and without a huge gradient."""
    return F.normalize(vectors, dim=-1, eps=1e-3)


class Linear(nn.Linear):
    """The identity at first; a smaller `size` keeps the first, strongest directions."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__(width, size, bias=False)
        nn.init.eye_(self.weight)


class MLP(nn.Module):
    """A linear adaptor, and beside it a network of one hidden layer that starts at zero."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.straight, self.down = Linear(width, size), nn.Linear(width, size)
        self.up = nn.Linear(size, size)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, vectors: Tensor) -> Tensor:
        bent: Tensor = self.up(F.gelu(self.down(vectors)))
        return self.straight(vectors) + bent


class Mixture(nn.Module):
    """Experts (x - b) W weighed by a gate, noisy while training (UniSRec, Hou et al., KDD 2022)."""

    def __init__(self, width: int, size: int, experts: int) -> None:
        super().__init__()
        noise = torch.randn(experts, width, size) * 0.1 * width**-0.5
        self.weight = nn.Parameter(torch.eye(width, size) + noise)
        self.shift = nn.Parameter(torch.zeros(experts, 1, width))
        self.gate, self.noise = nn.Linear(width, experts), nn.Linear(width, experts)

    def forward(self, vectors: Tensor) -> Tensor:
        logits = self.gate(vectors)
        if self.training:
            logits = logits + torch.randn_like(logits) * F.softplus(self.noise(vectors))
        return torch.einsum("ne,ens->ns", logits.softmax(1), (vectors - self.shift) @ self.weight)


class ItemTower(nn.Module):
    """Frozen vectors of `width` to unit vectors of `size`."""

    def __init__(
        self, width: int, size: int, n_items: int,
        adaptor: Adaptor = "linear", experts: int = 4, residual_dropout: float = 0.3,
        fusion: Fusion | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.adaptor = (
            Mixture(width, size, experts)
            if adaptor == "moe"
            else {"linear": Linear, "mlp": MLP}[adaptor](width, size)
        )
        # sparse gradients: a step touches the items of its batch, not the whole catalogue
        self.residual = nn.Embedding.from_pretrained(
            torch.zeros(n_items, size), freeze=False, sparse=True
        )
        self.residual_dropout = residual_dropout
        self.fusion = fusion

    def forward(self, vectors: Tensor, items: Tensor) -> Tensor:
        """`vectors` (n, width) are the frozen vectors of the items numbered `items` (n,)."""
        own = self.residual(items)
        if self.training:
            own = own * (torch.rand(len(items), 1) >= self.residual_dropout)
        content = self.adaptor(vectors)
        if self.fusion is not None:
            content = self.fusion(content, vectors, items)
        return unit(content + own)
