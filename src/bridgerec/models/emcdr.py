"""EMCDR: embedding and mapping for cross-domain recommendation (Man et al., IJCAI 2017).

Factorises each domain on its own, then learns, on the overlapping people alone, a function
from a person's factors in a source domain to those in the target.  People are folded in from
their histories, so nobody needs to have been in training.
"""

from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse
from torch import nn

from bridgerec.config import Choice, Range, Space
from bridgerec.data.dataset import Histories, Training
from bridgerec.models.base import Arrays, Candidate, CandidateConfig, under
from bridgerec.models.bridge import BridgeConfig, Lesson, learn
from bridgerec.models.factors import factorise, fold_in
from bridgerec.models.sparse import matrix

Floats = NDArray[np.float32]


class EMCDRConfig(BridgeConfig):
    """`alpha` is the confidence weight and `reg` the regularisation of the factorisation;
    `bridge_reg` that of the linear mapping, relative to the mean squared source factor.

    `mapping`: the paper's linear one or its perceptron with one hidden layer.  `loss`: the
    paper's squared error on factors (for the linear mapping in closed form), or a ranking loss on
    the target items that people have; the latter and the perceptron are trained for `epochs`.
    """

    embedding_size: int = Field(48, ge=2)
    iterations: int = Field(6, ge=1)
    alpha: float = Field(10.0, gt=0)
    reg: float = Field(10.0, gt=0)
    bridge_reg: float = Field(50.0, gt=0)
    mapping: Literal["linear", "mlp"] = "linear"
    loss: Literal["factors", "ranking"] = "factors"


class EMCDR(Candidate):
    """People with a history in the target are scored by it; all others through the bridges."""

    config_class: ClassVar[type[CandidateConfig]] = EMCDRConfig
    random = True
    quick = True
    space: ClassVar[Space] = {
        "embedding_size": Choice(choice=(16, 32, 48, 64, 96)),
        "alpha": Range(low=1, high=100, log=True),
        "reg": Range(low=1, high=300, log=True),
        "bridge_reg": Range(low=1, high=1000, log=True),
    }
    effort = "iterations"

    def fit(self, training: Training) -> None:
        c = self.config
        x = matrix(training.histories, self.n_items, weighted=True)
        self.factors: Arrays = {}
        people = {}
        for number, domain in enumerate(self.domains):
            own = x[:, self.block(domain)].tocsr()
            self.factors[domain] = factorise(
                own, c.embedding_size, c.iterations, c.alpha, c.reg, self.seed + number
            )
            people[domain] = fold_in(own, self.factors[domain], c.alpha, c.reg)
        known = {d: np.any(u != 0, axis=1) for d, u in people.items()}
        self.mean = {d: _mean(people[d][known[d]], c.embedding_size) for d in self.domains}
        self.bridges: dict[str, Arrays] = {}
        for target in self.domains:
            for source in self.domains:
                both = np.flatnonzero(known[source] & known[target])
                # without anybody to learn from, everyone maps to the mean person
                if source == target or len(both) == 0:
                    continue
                rows, block = training.histories.take(both), self.block(target)
                wanted = rows.within(block)
                lesson = Lesson(
                    torch.from_numpy(people[source][both]),
                    torch.from_numpy(people[target][both]),
                    Histories(wanted.indptr, wanted.items - block.start, wanted.weights),
                    torch.from_numpy(self.factors[target]),
                )
                with torch.random.fork_rng():
                    torch.manual_seed(self.seed)
                    self.bridges[f"{source}>{target}"] = self._bridge(
                        lesson, rows.within(self.block(source)), source
                    )

    def _bridge(self, lesson: Lesson, past: Histories, source: str) -> Arrays:
        """The learned numbers of one bridge; `past` are the people's rows in `source`."""
        c = self.config
        linear = ridge(lesson.source.numpy(), lesson.target.numpy(), c.bridge_reg)
        if c.mapping == "linear" and c.loss == "factors":
            return {"linear": linear}
        unit, source_scale, target_scale = lesson.scaled()
        net: nn.Module = nn.Linear(c.embedding_size, c.embedding_size)
        if c.mapping == "linear":
            linear[:-1] *= source_scale / target_scale
            linear[-1] /= target_scale
            weight, bias = torch.from_numpy(linear[:-1].T), torch.from_numpy(linear[-1])
            net.load_state_dict({"weight": weight, "bias": bias})
        else:
            hidden = 2 * c.embedding_size
            net = nn.Sequential(
                nn.Linear(c.embedding_size, hidden), nn.Tanh(), nn.Linear(hidden, c.embedding_size)
            )
        ranking = float(c.loss == "ranking")
        learn(net, (unit.source,), unit, c, 1 - ranking, ranking, self.seed)
        layers = [m for m in net.modules() if isinstance(m, nn.Linear)]
        found = [torch.vstack([m.weight.T, m.bias]).detach().numpy() for m in layers]
        found[0][:-1] /= source_scale
        found[-1] *= target_scale
        return dict(
            zip(("linear",) if c.mapping == "linear" else ("inner", "outer"), found, strict=True)
        )

    def _map(self, own: Floats, past: Histories, source: str, target: str) -> Floats:
        """Source factors (batch, size) of people with these source rows, in the target."""
        bridge = self.bridges[f"{source}>{target}"]
        if "linear" in bridge:
            return affine(own, bridge["linear"])
        return affine(np.tanh(affine(own, bridge["inner"])), bridge["outer"])

    def score(self, histories: Histories, target: str) -> Floats:
        x = matrix(histories, self.n_items)
        users = self._users(x, target)
        mapped = np.zeros_like(users)
        times = np.zeros((len(users), 1), dtype=np.float32)
        for source in self.domains:
            if f"{source}>{target}" not in self.bridges:
                continue
            own = self._users(x, source)
            has = np.any(own != 0, axis=1, keepdims=True)
            mapped += has * self._map(own, histories.within(self.block(source)), source, target)
            times += has
        mapped = np.where(times > 0, mapped / np.maximum(times, 1), self.mean[target])
        warm = np.any(users != 0, axis=1, keepdims=True)
        scores: Floats = np.where(warm, users, mapped) @ self.factors[target].T
        return scores.astype(np.float32)

    def _users(self, x: sparse.csr_matrix, domain: str) -> Floats:
        own = x[:, self.block(domain)].tocsr()
        return fold_in(own, self.factors[domain], self.config.alpha, self.config.reg)

    def arrays(self) -> Arrays:
        return {
            **{f"factors.{d}": a for d, a in self.factors.items()},
            **{f"mean.{d}": a for d, a in self.mean.items()},
            **{f"{name}/{k}": a for name, b in self.bridges.items() for k, a in b.items()},
        }

    def restore(self, arrays: Arrays) -> None:
        self.factors, self.mean = under(arrays, "factors."), under(arrays, "mean.")
        names = sorted({key.split("/")[0] for key in arrays if "/" in key})
        self.bridges = {name: under(arrays, f"{name}/") for name in names}


def ridge(source: Floats, target: Floats, penalty: float) -> Floats:
    """Ridge regression with an unpenalised intercept in the last row, (size + 1, size)."""
    left, right = source.mean(0), target.mean(0)
    s, t = source - left, target - right
    penalty *= max(float(np.mean(s * s)), 1e-12)
    weights = np.linalg.solve(s.T @ s + penalty * np.eye(s.shape[1]), s.T @ t)
    return np.vstack([weights, right - left @ weights]).astype(np.float32)


def affine(rows: Floats, weights: Floats) -> Floats:
    """`rows` times all but the last row of `weights`, plus that."""
    result: Floats = rows @ weights[:-1] + weights[-1]
    return result


def _mean(rows: Floats, size: int) -> Floats:
    return rows.mean(0) if len(rows) else np.zeros(size, dtype=np.float32)
