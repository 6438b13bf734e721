"""PTUPCDR: a bridge of one's own for every person (Zhu et al., WSDM 2022).

A characteristic encoder pools the items of a person's source history by attention, a meta network
turns the pooled vector into the matrix that carries this person's factors into the target.  Trained
for the task itself (here: ranking the target items that people have), with the squared error on
factors beside it.  Factors and everything else are those of EMCDR, and the generated matrix is what
a person adds to the bridge that all share.
"""

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from bridgerec.config import Range, Space
from bridgerec.data.dataset import Histories
from bridgerec.models.base import Arrays, CandidateConfig
from bridgerec.models.bridge import BridgeConfig, Lesson, learn
from bridgerec.models.emcdr import EMCDR, Floats, ridge
from bridgerec.training.sequences import padded


class PTUPCDRConfig(BridgeConfig):
    """`max_history`: the newest source items that attention looks at; `meta_size`: the hidden
    layer of the meta network; `ranking_weight` and `mapping_weight` weigh the two losses.
    The factorisation and `bridge_reg` as in EMCDR."""

    embedding_size: int = Field(16, ge=2)
    iterations: int = Field(6, ge=1)
    alpha: float = Field(10.0, gt=0)
    reg: float = Field(10.0, gt=0)
    bridge_reg: float = Field(100.0, gt=0)
    meta_size: int = Field(50, ge=1)
    max_history: int = Field(30, ge=1)
    mapping_weight: float = Field(1.0, ge=0)
    ranking_weight: float = Field(0.05, ge=0)
    epochs: int = Field(5, ge=1)
    weight_decay: float = Field(0.1, ge=0)


class _Bridge(nn.Module):
    """(factors (n, size), item factors (n, length, size), which are real) -> (n, size)."""

    def __init__(self, size: int, meta_size: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, 1, False))
        matrix = nn.Linear(meta_size, size * size)
        nn.init.normal_(matrix.weight, std=0.1 / size)  # in the beginning all are nearly alike
        nn.init.zeros_(matrix.bias)
        self.meta = nn.Sequential(nn.Linear(size, meta_size), nn.ReLU(), matrix)
        self.common = nn.Linear(size, size)

    def forward(self, own: Tensor, items: Tensor, real: Tensor) -> Tensor:
        logits = self.attention(items)[:, :, 0].masked_fill(~real, -1e9)
        pooled = (torch.softmax(logits, 1)[:, :, None] * items).sum(1)
        matrix = self.meta(pooled).view(len(own), own.shape[1], own.shape[1])
        mapped: Tensor = self.common(own) + torch.einsum("ni,nij->nj", own, matrix)
        return mapped


class PTUPCDR(EMCDR):
    """EMCDR with personal bridges."""

    config_class: ClassVar[type[CandidateConfig]] = PTUPCDRConfig
    quick = False
    space: ClassVar[Space] = {
        **EMCDR.space,
        "ranking_weight": Range(low=0.005, high=1, log=True),
        "learning_rate": Range(low=0.0005, high=0.02, log=True),
    }

    def _bridge(self, lesson: Lesson, past: Histories, source: str) -> Arrays:
        c = self.config
        unit, source_scale, target_scale = lesson.scaled()
        items, real = self._items(past, source)
        item_scale = float(items[real].pow(2).mean().sqrt().clamp(min=1e-6))
        net = _Bridge(c.embedding_size, c.meta_size)
        linear = torch.from_numpy(ridge(unit.source.numpy(), unit.target.numpy(), c.bridge_reg))
        net.common.load_state_dict({"weight": linear[:-1].T, "bias": linear[-1]})
        given = (unit.source, items / item_scale, real)
        learn(net, given, unit, c, c.mapping_weight, c.ranking_weight, self.seed)
        scales = np.array([source_scale, item_scale, target_scale], dtype=np.float32)
        return {"scales": scales, **{k: v.detach().numpy() for k, v in net.state_dict().items()}}

    def _map(self, own: Floats, past: Histories, source: str, target: str) -> Floats:
        learned = dict(self.bridges[f"{source}>{target}"])
        source_scale, item_scale, target_scale = learned.pop("scales").tolist()
        net = _Bridge(self.config.embedding_size, self.config.meta_size)
        net.load_state_dict({k: torch.from_numpy(v) for k, v in learned.items()})
        items, real = self._items(past, source)
        with torch.inference_mode():
            mapped = net(torch.from_numpy(own / source_scale), items / item_scale, real)
        return np.asarray(mapped.numpy() * target_scale, dtype=np.float32)

    def _items(self, past: Histories, source: str) -> tuple[Tensor, Tensor]:
        """Factors of the newest items, (batch, max_history, size), and which places are filled."""
        table, _ = padded(past, self.config.max_history)
        items = self.factors[source][np.maximum(table - self.block(source).start, 0)]
        real = torch.from_numpy(table >= 0)
        return torch.from_numpy(items) * real[:, :, None], real
