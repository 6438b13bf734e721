"""Adam with one cycle of the learning rate, dense and sparse parts alike."""

from collections.abc import Iterable

from torch import Tensor, nn
from torch.optim import Adam, Optimizer, SparseAdam
from torch.optim.lr_scheduler import OneCycleLR


class OneCycle:
    """Smith & Topin 2019.  `eager` parameters, few numbers that have far to go, get ten times the
    learning rate; embeddings with sparse gradients are moved where they were used alone."""

    def __init__(
        self, module: nn.Module, learning_rate: float, steps: int, eager: Iterable[nn.Parameter]
    ) -> None:
        fast = list(eager)
        sparse = [
            part.weight
            for part in module.modules()
            if isinstance(part, nn.Embedding) and part.sparse
        ]
        apart = {id(p) for p in (*fast, *sparse)}
        dense = [p for p in module.parameters() if id(p) not in apart]
        groups = [{"params": dense}, {"params": fast}]
        rates = [learning_rate, 10 * learning_rate]
        self.optimizers: list[Optimizer] = [Adam([g for g in groups if g["params"]])]
        highest = [rate for rate, g in zip(rates, groups, strict=True) if g["params"]]
        self.schedules = [OneCycleLR(self.optimizers[0], highest, max(steps, 2), pct_start=0.1)]
        if sparse:
            self.optimizers.append(SparseAdam(sparse))
            self.schedules.append(
                OneCycleLR(self.optimizers[1], learning_rate, max(steps, 2), pct_start=0.1)
            )

    def step(self, loss: Tensor) -> None:
        """Go downhill once."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer, schedule in zip(self.optimizers, self.schedules, strict=True):
            optimizer.step()
            schedule.step()
