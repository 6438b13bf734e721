"""A small causal transformer over sequences of vectors."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def dropout(x: Tensor, share: float, training: bool) -> Tensor:
    """As torch's, whose random numbers come one by one on a processor and take as long as a
    product of matrices there; here a number of 64 bits decides about four places."""
    if not training or not share or x.device.type != "cpu":
        return F.dropout(x, share, training)
    rng = np.random.Generator(np.random.SFC64(int(torch.randint(2**62, ()))))
    words = rng.integers(0, 2**64, -(-x.numel() // 4), dtype=np.uint64)
    drawn = torch.as_tensor(words.view(np.int16)[: x.numel()]).view(x.shape)
    keep = drawn >= round(share * 2**16) - 2**15
    return x * keep.to(x.dtype).mul_(1 / (1 - share))


class Block(nn.Module):
    """Attention and a feed-forward part, each behind a layer norm (Xiong et al., ICML 2020)."""

    def __init__(self, size: int, heads: int, dropout: float, widening: int) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.before, self.between = nn.LayerNorm(size), nn.LayerNorm(size)
        self.attend, self.out = nn.Linear(size, 3 * size), nn.Linear(size, size)
        inner = widening * size
        self.up, self.down = nn.Linear(size, inner), nn.Linear(inner, size)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x (batch, length, size); `bias` is added to the attention logits."""
        batch, length, size = x.shape
        parts = self.attend(self.before(x)).view(batch, length, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        # twice as fast on a processor as torch's own, which has no short cut for a learned bias
        seen = ((q * q.shape[-1] ** -0.5) @ k.transpose(2, 3) + bias).softmax(-1) @ v
        seen = self.out(seen.transpose(1, 2).reshape(batch, length, size))
        x = x + dropout(seen, self.dropout, self.training)
        inner = self.down(F.gelu(self.up(self.between(x))))
        return x + dropout(inner, self.dropout, self.training)


class CausalTransformer(nn.Module):
    """States after nothing, after the first vector, after the second, …

    Attention is told how far back a vector lies by a learned slope per head (ALiBi, Press et al.,
    ICLR 2022), so that a history of any length is read alike.
    """

    def __init__(self, size: int, layers: int, heads: int, dropout: float, widening: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(size) * 0.1)
        self.slope = nn.Parameter(torch.linspace(-3, -1, heads))
        self.blocks = nn.ModuleList(Block(size, heads, dropout, widening) for _ in range(layers))
        self.norm = nn.LayerNorm(size)
        self.dropout = dropout

    def forward(self, entries: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Vectors (batch, length, size) to states (batch, length + 1, size).

        Attention does not see vectors marked `hidden` (batch, length).  Padding belongs after
        the end, where nothing looks.
        """
        x = torch.cat([self.start.expand(len(entries), 1, -1), entries], 1)
        x = dropout(x, self.dropout, self.training)
        place = torch.arange(x.shape[1])
        lag = (place[:, None] - place).float()
        bias = torch.where(lag >= 0, -F.softplus(self.slope)[:, None, None] * lag, -torch.inf)
        if hidden is not None:
            bias = bias[None].masked_fill(F.pad(hidden, (1, 0))[:, None, None, :], -torch.inf)
        for block in self.blocks:
            x = block(x, bias)
        normed: Tensor = self.norm(x)
        return normed
