"""Cross-entropy of one item per question against negatives that all questions share.

Many questions times many negatives is the largest array of a training step, and every operation
on it a pass over memory.  Here it exists in blocks of a few hundred questions, which stay in the
processor's cache, and each block leaves its part of the gradient behind at once (as in Hsu et al.,
Liger Kernel, 2024, arXiv:2410.10989).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BLOCK = 256  # questions at a time; a GPU takes all at once


@dataclass(frozen=True)
class Shared:
    """What no gradient goes to.  Of the negatives: their `popular`ity and `log_q` (m,), and per
    half-life what `trends` say of them at each of so many `moments` (m, moments).  Of the
    questions, all (n,): the moment `when` they are asked, the place of their own item among the
    negatives, -1 for none (`hit`), and their `weight`."""

    popular: Tensor
    log_q: Tensor
    trends: list[Tensor]
    moments: int
    when: Tensor
    hit: Tensor
    weight: Tensor


class SharedSoftmax(torch.autograd.Function):
    """Sum over questions of weight * -log softmax(positive | positive, negatives).

    The logit of negative j for question i is users_i . items_j + popularity_i * popular_j +
    follow_i * (trend . trends_j at the moment of i) - log_q_j (Bengio & Senecal 2008; Yi et al.,
    RecSys 2019).  Shapes: `users` (n, size), already divided by the temperature, `items` (m,
    size), `positive`, `popularity` and `follow` (n,), `trend` (half-lives,).
    """

    @staticmethod
    def forward(
        ctx: Any, users: Tensor, items: Tensor, positive: Tensor, popularity: Tensor,
        follow: Tensor, trend: Tensor, shared: Shared,
    ) -> Tensor:  # fmt: skip
        device = users.device.type
        mixed = torch.is_autocast_enabled(device)
        narrow = torch.get_autocast_dtype(device) if mixed else users.dtype
        gradients = [torch.zeros_like(x) for x in (users, items, positive, popularity, follow)]
        to_users, to_items, to_positive, to_popularity, to_follow = gradients
        users, items = users.to(narrow), items.to(narrow)
        size = BLOCK if device == "cpu" else max(1, len(users))
        with torch.autocast(device, enabled=False):
            lift = shared.log_q.new_zeros(len(items), shared.moments)
            for share, table in zip(trend.tolist(), shared.trends, strict=True):
                lift.add_(table, alpha=share)
            lift = lift.T.contiguous()
            total, to_lift = positive.new_zeros(()), torch.zeros_like(lift)
            for start in range(0, len(users), size):
                part = slice(start, start + size)
                when, hit, weight = shared.when[part], shared.hit[part], shared.weight[part]
                moved, own = lift.index_select(0, when), torch.nonzero(hit >= 0)[:, 0]
                logits = (moved * follow[part, None]).add_(users[part] @ items.T)
                logits.addr_(popularity[part], shared.popular).sub_(shared.log_q)
                logits[own, hit[own]] = -torch.inf
                highest = torch.maximum(logits.amax(1), positive[part])
                mass = logits.sub_(highest[:, None]).exp_()
                of_positive = (positive[part] - highest).exp()
                every = mass.sum(1) + of_positive
                total += ((every.log() + highest - positive[part]) * weight).sum()
                mass.mul_((weight / every)[:, None])  # the gradient of the logits
                short = mass.to(narrow)
                to_users[part] = short @ items
                to_items += short.T @ users[part]
                to_positive[part] = weight * (of_positive / every - 1)
                to_popularity[part] = mass @ shared.popular
                to_follow[part] = moved.mul_(mass).sum(1)
                to_lift.index_add_(0, when, mass.mul_(follow[part, None]))
            to_lift = to_lift.T.contiguous()
            to_trend = torch.zeros_like(trend)
            for k, table in enumerate(shared.trends):
                to_trend[k] = torch.dot(table.flatten(), to_lift.flatten())
        ctx.save_for_backward(*gradients, to_trend)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return (*(gradients[0] * part for part in ctx.saved_tensors), None)
