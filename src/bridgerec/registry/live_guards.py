"""What a new winner must not lose against the live release: the same segments, the same shares."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.config import Params
from bridgerec.data.dataset import Cases, Training
from bridgerec.evaluation.metrics import case_metrics
from bridgerec.evaluation.segments import Languages, segments
from bridgerec.registry.guards import asked, demand, looked_at


@dataclass(frozen=True)
class Answered:
    """The ranks (total relevant,) that the live release gave what was asked for in `cases`."""

    cases: Cases
    training: Training
    rank: NDArray[np.int64]

    def values(self, params: Params) -> NDArray[np.float64]:
        """`gate.metric` of each person, (people,)."""
        return self._metric(self.rank, self.cases.relevant.indptr, params)

    def _metric(
        self, rank: NDArray[np.int64], indptr: NDArray[np.int64], params: Params
    ) -> NDArray[np.float64]:
        found = case_metrics(rank, indptr, params.evaluation.ks)
        return np.asarray(found[params.gate.metric], dtype=np.float64)

    def guarded(
        self, new: dict[str, Any], split: str, route: str, languages: Languages, params: Params
    ) -> list[dict[str, Any]]:
        """Every guarded segment as `guards.guarded` tells it: the winner's numbers from `new`
        (segment -> metric -> value, high), beside what is asked for by the live release's value.

        Raises:
            KeyError: the winner was not judged in a segment.
        """
        metric, found = params.gate.metric, []
        for segment in segments(self.cases, self.training, self.training.catalogue, languages):
            share = asked(segment.name, route, params)
            if share is None:
                continue
            member, indptr = segment.people(self.cases.relevant)
            live = float(self._metric(self.rank[segment.relevant], indptr, params).mean())
            wanted = demand(share, live, int(member.sum()), "the live release")
            needed = (split, self.cases.target, segment.name, metric)
            found.append(looked_at(needed, new[segment.name][metric], wanted))
        return found
