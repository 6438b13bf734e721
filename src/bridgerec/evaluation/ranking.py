"""Where each model ranks what somebody met, among all items of the target.

People are asked in blocks, side by side on PyTorch's threads.  Of a block every model is scored
once: a blend is mixed from its members' scores as they come by, so that only the scores of one
model and of the blends' members are in memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.data.dataset import Cases, Histories, Part, Training
from bridgerec.encoders.processor import side_by_side
from bridgerec.evaluation.metrics import ranks
from bridgerec.models.base import Candidate
from bridgerec.models.blend import Blend
from bridgerec.models.scores import Mix, standardised

Scores = NDArray[np.float32]
Users = NDArray[np.int64] | None  # those of validation, None for those of test


@dataclass(frozen=True)
class Ranking:
    """What one model did on some cases: `rank` of each relevant item and `top` lists."""

    rank: NDArray[np.int64]
    top: NDArray[np.int64]


def rank_all(
    models: Sequence[Candidate], cases: Cases, k: int, batch_size: int, part: Part
) -> list[Ranking]:
    """Full ranking of the target's items for every case, seen items masked; one per model."""
    block_of = partial(_rank_block, models, cases, k, batch_size, part)
    first = block_of(0)  # alone: models make what they keep for later when they are first asked
    rest = side_by_side(block_of, range(batch_size, len(cases), batch_size))
    found = [first, *rest]
    return [
        Ranking(np.concatenate([r.rank for r in own]), np.concatenate([r.top for r in own]))
        for own in zip(*found, strict=True)
    ]


def update_all(models: Sequence[Candidate], known: Training) -> None:
    """`Candidate.update` of every model; what several blends share is updated once."""
    members = {id(m): m for b in models if isinstance(b, Blend) for m in b.members.values()}
    for model in models:
        if isinstance(model, Blend):
            model.follow(known)
        else:
            members[id(model)] = model
    for model in members.values():
        model.update(known)


def _rank_block(
    models: Sequence[Candidate], cases: Cases, k: int, batch_size: int, part: Part, start: int
) -> list[Ranking]:
    block, stop = models[0].block(cases.target), start + batch_size
    histories = cases.histories.batch(start, stop)
    relevant = _local(cases.relevant.batch(start, stop), block.start)
    seen = _local(histories.within(block), block.start)
    users = cases.users[start:stop] if part == "validation" else None
    found: dict[int, Ranking] = {}
    for place, scores in _answers(models, histories, cases.target, users):
        rank = ranks(scores, seen, relevant)
        scores[seen.rows, seen.items] = -np.inf
        found[place] = Ranking(rank, _top(scores, min(k, scores.shape[1])))
    return [found[place] for place in range(len(models))]


def _answers(
    models: Sequence[Candidate], histories: Histories, target: str, users: Users
) -> Iterator[tuple[int, Scores]]:
    """Each model's place and scores, which may be overwritten; in any order."""
    places = {id(model): place for place, model in enumerate(models)}
    mixes = [(b, b.mix(histories, target, users)) for b in models if isinstance(b, Blend)]
    wanted = [(name, m, mix) for blend, mix in mixes for name, m in blend.members.items()]
    asked: dict[int, tuple[Candidate, list[Mix]]] = {}
    for _, member, mix in sorted(wanted, key=itemgetter(0)):  # as each blend has them in order
        asked.setdefault(id(member), (member, []))[1].append(mix)
    for model in models:
        if not isinstance(model, Blend):
            asked.setdefault(id(model), (model, []))
    for model, mixed in asked.values():
        plain = users is None or type(model).cross_score is Candidate.cross_score
        if mixed or plain:
            scores = model.score(histories, target)
        if mixed:
            own = standardised(scores)
            for mix in mixed:
                mix.add(own)
        if id(model) in places:
            if users is not None and not plain:
                scores = model.cross_score(histories, target, users)
            yield places[id(model)], scores
    for blend, mix in mixes:
        yield places[id(blend)], mix.scores()


def _top(scores: Scores, k: int) -> NDArray[np.int64]:
    """The places of the k best of each row, best first, (n, k); several times as fast as numpy's
    argpartition."""
    import torch

    return np.asarray(torch.from_numpy(scores).topk(k, dim=1).indices.numpy())


def _local(histories: Any, start: int) -> Any:
    return type(histories)(histories.indptr, histories.items - start, histories.weights)
