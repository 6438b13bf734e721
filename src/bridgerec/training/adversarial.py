"""Training against the worst small change of the item vectors (FGM: Goodfellow et al. 2015;
Miyato et al., ICLR 2017)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def adversarial(
    loss_of: Callable[[Tensor], Tensor], vectors: Tensor, epsilon: float, weight: float
) -> Tensor:
    """loss_of(vectors) + weight * loss_of(vectors moved by `epsilon` where it hurts most).

    `vectors` (n, size) are part of the graph; each row moves along the direction of its own
    gradient.  What `loss_of` draws from torch's random numbers is the same both times.  Costs
    about twice the time; `weight` 0 costs nothing.
    """
    if not weight:
        return loss_of(vectors)
    drawing = torch.cuda if vectors.is_cuda else torch
    before = drawing.get_rng_state()
    loss = loss_of(vectors)
    (gradient,) = torch.autograd.grad(loss, vectors, retain_graph=True)
    moved = vectors + epsilon * F.normalize(gradient, dim=1)
    with torch.random.fork_rng():
        drawing.set_rng_state(before)  # the direction is that of this dropout mask
        worse = loss_of(moved)
    return loss + weight * worse
