"""Trainings side by side in processes of their own: what to train, and the ranks that came out.

A `Job` says which model learns from which rows and vectors, with which part of `Sequence` taken
away, and where; `train_and_rank` trains it and ranks what the people of validation met next.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from bridgerec.config import Model, Workspace
from bridgerec.data.dataset import Cases, Catalogue, Histories, Split
from bridgerec.data.vectors import read_vectors
from bridgerec.evaluation.metrics import case_metrics, sampled_metrics
from bridgerec.evaluation.protocol import evaluate
from bridgerec.models import sequence, sequence_net
from bridgerec.models.base import Candidate, build

Floats = NDArray[np.float32]
Part = Literal["none", "order", "order, when asked", "time gaps", "own vectors", "domains"]


@dataclass(frozen=True)
class Job:
    """`model` (of params.yaml's `models`, or a class) with `options`; `vectors` are those of a
    workspace's folder, or `random`; `without` a part of `Sequence`; `alone`: without the rows of
    other domains."""

    name: str
    model: str
    options: dict[str, Any] = field(default_factory=dict)
    vectors: str = ""
    split: str = "leave_last"
    without: Part = "none"
    alone: bool = False
    seed: int = 0
    device: str = "cuda"
    threads: int = 1


@dataclass(frozen=True)
class Outcome:
    """`ranks` of the relevant items per target, seconds of the clock, and a hash of what was
    learned."""

    job: Job
    ranks: dict[str, NDArray[np.int32]]
    training_seconds: float
    ranking_seconds: float
    learned: str


@cache
def _read(root: Path, split: str) -> tuple[Workspace, Catalogue, Split]:
    workspace = Workspace.open(root)
    catalogue = Catalogue.read(workspace.prepared / "items.parquet")
    return workspace, catalogue, Split.read(workspace.prepared, split, catalogue)


@cache
def _vectors(root: Path, n_items: int, named: str) -> Floats:
    if named == "random":
        drawn = np.random.default_rng(0).standard_normal((n_items, 384)).astype(np.float32)
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return read_vectors(Workspace.open(Path(named) if named else root), n_items)


def shuffled(histories: Histories, seed: int) -> Histories:
    """Items change places inside their history; the times stay at their places."""
    chance = np.random.default_rng(seed).random(len(histories.items))
    order = np.lexsort((chance, histories.rows))
    return replace(histories, items=histories.items[order], weights=histories.weights[order])


class _Frozen(sequence_net.Net):
    """A network of which some parameters stay what they are at first."""

    kept: tuple[str, ...] = ()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        for name in self.kept:
            self.get_parameter(name).requires_grad_(False)
        if "kind" in self.kept:
            self.kind.zero_()


class _NoOwnVectors(_Frozen):
    kept = ("residual",)


class _NoDomains(_Frozen):
    kept = ("kind", "head")


@contextmanager
def taken_away(part: Part) -> Iterator[None]:
    with ExitStack() as stack:
        if part == "time gaps":
            stack.enter_context(patch.object(sequence_net, "pauses", np.zeros_like))
        if part in ("own vectors", "domains"):
            net = _NoOwnVectors if part == "own vectors" else _NoDomains
            stack.enter_context(patch.object(sequence, "Net", net))
        yield


def _build(workspace: Workspace, job: Job) -> Candidate:
    given = Model(use=job.model) if ":" in job.model else workspace.params.models[job.model]
    model = Model.model_validate({**given.model_dump(), **job.options})
    return build(job.name, model, workspace.params.seed + job.seed)


def train_and_rank(root: Path, job: Job) -> Outcome:
    torch.set_num_threads(job.threads)
    workspace, catalogue, split = _read(root, job.split)
    vectors = _vectors(root, len(catalogue), job.vectors)
    training = replace(split.training(), vectors=vectors, device=job.device)
    if job.without == "order":
        training = replace(training, histories=shuffled(training.histories, job.seed))
    ranks, training_seconds, ranking_seconds = {}, 0.0, 0.0
    digest = hashlib.sha256()
    model = None
    with taken_away(job.without):
        for target in split.targets:
            cases: Cases = split.cases("validation", target)
            if job.without.startswith("order"):
                cases = replace(cases, histories=shuffled(cases.histories, job.seed))
            rows = training.histories
            if job.alone:
                rows = rows.within(catalogue.block(target))
                own = cases.histories.within(catalogue.block(target))
                cases = replace(cases, histories=own)
            if model is None or job.alone:
                model = _build(workspace, job)
                start = time.perf_counter()
                model.train(replace(training, histories=rows))
                training_seconds += time.perf_counter() - start
                for name, array in sorted(model.arrays().items()):
                    digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
            start = time.perf_counter()
            ranks[target] = evaluate(model, cases, part="validation").rank.astype(np.int32)
            ranking_seconds += time.perf_counter() - start
    return Outcome(job, ranks, training_seconds, ranking_seconds, digest.hexdigest())


def metrics(root: Path, split: str, target: str, ranks: NDArray[np.int32]) -> dict[str, Any]:
    """Per person of validation: NDCG@10 by full ranking, and where one item is asked for HR@10 and
    NDCG@10 among 999 sampled negatives too."""
    _, catalogue, parts = _read(root, split)
    cases, block = parts.cases("validation", target), catalogue.block(target)
    rank = ranks.astype(np.int64)
    found = {"ndcg@10": case_metrics(rank, cases.relevant.indptr, (10,))["ndcg@10"]}
    if len(rank) == len(cases):
        pool = block.stop - block.start - cases.histories.within(block).lengths
        found |= sampled_metrics(rank, pool, 999, (10,))
    return found
