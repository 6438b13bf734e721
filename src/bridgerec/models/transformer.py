"""A small causal transformer over sequences of vectors."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Attention and a feed-forward part, each behind a layer norm (Xiong et al., ICML 2020)."""

    def __init__(self, size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.before, self.between = nn.LayerNorm(size), nn.LayerNorm(size)
        self.attend, self.out = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.up, self.down = nn.Linear(size, 4 * size), nn.Linear(4 * size, size)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x (batch, length, size); `bias` is added to the attention logits."""
        batch, length, size = x.shape
        parts = self.attend(self.before(x)).view(batch, length, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        seen = self.out(seen.transpose(1, 2).reshape(batch, length, size))
        x = x + F.dropout(seen, self.dropout, self.training)
        inner = self.down(F.gelu(self.up(self.between(x))))
        return x + F.dropout(inner, self.dropout, self.training)


class CausalTransformer(nn.Module):
    """States after nothing, after the first vector, after the second, …

    Attention is told how far back a vector lies by a learned slope per head (ALiBi, Press et al.,
    ICLR 2022), so that a history of any length is read alike.
    """

    def __init__(self, size: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(size) * 0.1)
        self.slope = nn.Parameter(torch.linspace(-3, -1, heads))
        self.blocks = nn.ModuleList(Block(size, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(size)
        self.dropout = dropout

    def forward(self, entries: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Vectors (batch, length, size) to states (batch, length + 1, size).

        Attention does not see vectors marked `hidden` (batch, length).  Padding belongs after
        the end, where nothing looks.
        """
        x = torch.cat([self.start.expand(len(entries), 1, -1), entries], 1)
        x = F.dropout(x, self.dropout, self.training)
        place = torch.arange(x.shape[1])
        lag = (place[:, None] - place).float()
        bias = torch.where(lag >= 0, -F.softplus(self.slope)[:, None, None] * lag, -torch.inf)
        if hidden is not None:
            bias = bias[None].masked_fill(F.pad(hidden, (1, 0))[:, None, None, :], -torch.inf)
        for block in self.blocks:
            x = block(x, bias)
        normed: Tensor = self.norm(x)
        return normed
