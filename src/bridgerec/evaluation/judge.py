"""What a candidate's rankings are worth: metrics per segment with intervals, and comparisons."""

from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridgerec.config import Params
from bridgerec.data.dataset import Cases, Catalogue, Training
from bridgerec.evaluation.metrics import case_metrics, list_metrics, sampled_metrics
from bridgerec.evaluation.ranking import Ranking
from bridgerec.evaluation.segments import Languages, Segment, segments
from bridgerec.evaluation.significance import Bootstrap

Floats = NDArray[np.float64]


class Judge:
    """All candidates on the same cases, with shared segments and resamples."""

    def __init__(
        self, cases: Cases, training: Training, catalogue: Catalogue, languages: Languages,
        params: Params,
    ) -> None:  # fmt: skip
        self.cases, self.config = cases, params.evaluation
        self.block = catalogue.block(cases.target)
        self.segments: list[Segment] = list(segments(cases, training, catalogue, languages))
        count = np.bincount(training.histories.items, minlength=len(catalogue))
        self.popularity = count[self.block].astype(np.float64)
        self.bootstrap = Bootstrap(
            len(cases), self.config.bootstrap, self.config.confidence, params.seed
        )
        seen = cases.histories.within(self.block).lengths
        # the others of a case's relevant items are no negatives
        self.pool = self.block.stop - self.block.start - seen - cases.relevant.lengths + 1
        self.sizes: dict[str, int] = {}
        self.values: dict[str, dict[str, Floats]] = {}  # candidate -> metric -> per person

    def judge(self, name: str, rankings: list[Ranking]) -> dict[str, dict[str, Any]]:
        """Segment -> metric -> value, low, high, from one ranking per seed; metrics are averaged
        over seeds per person."""
        sampled = [self._sampled(ranking) for ranking in rankings]
        result: dict[str, dict[str, Any]] = {}
        for segment in self.segments:
            member, values = self._per_person(rankings, sampled, segment)
            table = np.stack(list(values.values()), axis=1)
            low, high = self.bootstrap.intervals(table, member)
            mean = table[member].mean(0)
            result[segment.name] = {
                metric: {"value": float(mean[i]), "low": float(low[i]), "high": float(high[i])}
                for i, metric in enumerate(values)
            }
            self.sizes[segment.name] = int(member.sum())
            if segment.name == "all":
                self.values[name] = values
                result["all"].update(self._lists([ranking.top for ranking in rankings]))
        return result

    def _per_person(
        self, rankings: list[Ranking], sampled: list[dict[str, Floats]], segment: Segment
    ) -> tuple[NDArray[np.bool_], dict[str, Floats]]:
        chosen = segment.relevant
        member, indptr = segment.people(self.cases.relevant)
        total: dict[str, Floats] = {}
        for ranking, entries in zip(rankings, sampled, strict=True):
            found = case_metrics(ranking.rank[chosen], indptr, self.config.ks)
            for metric, values in entries.items():
                found[metric] = np.add.reduceat(values[chosen], indptr[:-1]) / np.diff(indptr)
            for metric, values in found.items():
                full = total.setdefault(metric, np.zeros(len(self.cases)))
                full[member] += values / len(rankings)
        return member, total

    def _sampled(self, ranking: Ranking) -> dict[str, Floats]:
        """Sampled metrics of each relevant item."""
        relevant = self.cases.relevant
        alone = ranking.rank - _better_relevant(ranking.rank, relevant.indptr)
        pool = self.pool[relevant.rows]
        return sampled_metrics(alone, pool, self.config.sampled_negatives, self.config.ks)

    def _lists(self, tops: list[NDArray[np.int64]]) -> dict[str, dict[str, float]]:
        """Value, low and high of what concerns the lists as a whole, averaged over seeds."""
        result = {}
        for k in self.config.ks:
            seeds = [list_metrics(top, self.popularity, k, self.bootstrap) for top in tops]
            for metric in seeds[0]:
                value, low, high = np.mean([found[metric] for found in seeds], axis=0).tolist()
                result[metric] = {"value": value, "low": low, "high": high}
        return result

    def per_user(self, split: str, part: str) -> pl.DataFrame:
        frames = [
            pl.DataFrame(
                {
                    "split": split,
                    "part": part,
                    "target": self.cases.target,
                    "candidate": candidate,
                    "user": self.cases.users,
                    "known": self.cases.histories.within(self.block).lengths,
                    **{m: v for m, v in values.items() if not m.startswith("sampled")},
                }
            )
            for candidate, values in self.values.items()
        ]
        return pl.concat(frames)

    def compare(self, split: str, metric: str = "ndcg@10") -> list[dict[str, Any]]:
        """Each candidate against each other one, paired over people."""
        if metric not in next(iter(self.values.values())):
            metric = next(m for m in next(iter(self.values.values())) if m.startswith("ndcg"))
        return [
            {
                "split": split,
                "target": self.cases.target,
                "metric": metric,
                "candidate": a,
                "against": b,
                **asdict(self.bootstrap.difference(self.values[a][metric], self.values[b][metric])),
            }
            for a in self.values
            for b in self.values
            if a != b
        ]


def _better_relevant(rank: NDArray[np.int64], indptr: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many relevant items of the same case rank better."""
    cases = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    order = np.lexsort((rank, cases))
    better = np.empty_like(rank)
    better[order] = np.arange(len(rank)) - indptr[:-1][cases[order]]
    return better
