"""Every candidate on every split: rank, measure, compare, write the reports."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridgerec.config import Params, Workspace
from bridgerec.data.dataset import Cases, Catalogue, Part, Split, Training
from bridgerec.data.vectors import read_images, read_vectors
from bridgerec.errors import ArtifactError
from bridgerec.evaluation.metrics import case_metrics, list_metrics, ranks, sampled_metrics
from bridgerec.evaluation.segments import Scripts, Segment, segments
from bridgerec.evaluation.significance import Bootstrap, holm
from bridgerec.models.base import Candidate, check_catalogue, load
from bridgerec.progress import track
from bridgerec.runtime import atomic_folder, read_json, write_json

ASKED: tuple[Part, ...] = ("validation", "test")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """What one model did on some cases: `rank` of each relevant item and `top` lists."""

    rank: NDArray[np.int64]
    top: NDArray[np.int64]


def evaluate(
    candidate: Candidate, cases: Cases, k: int = 20, batch_size: int = 512, part: Part = "test"
) -> Ranking:
    """Full ranking of the target's items for every case, seen items masked."""
    block = candidate.block(cases.target)
    found_ranks, found_top = [], []
    for start in range(0, len(cases), batch_size):
        histories = cases.histories.batch(start, start + batch_size)
        relevant = _local(cases.relevant.batch(start, start + batch_size), block.start)
        seen = _local(histories.within(block), block.start)
        if part == "validation":
            users = cases.users[start : start + batch_size]
            scores = candidate.cross_score(histories, cases.target, users)
        else:
            scores = candidate.score(histories, cases.target)
        found_ranks.append(ranks(scores, seen, relevant))
        scores[seen.rows, seen.items] = -np.inf
        found_top.append(_top(scores, min(k, scores.shape[1])))
    return Ranking(np.concatenate(found_ranks), np.concatenate(found_top))


def _top(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """The places of the k best of each row, best first, (n, k); several times as fast as numpy's
    argpartition."""
    import torch

    return np.asarray(torch.from_numpy(scores).topk(k, dim=1).indices.numpy())


def _local(histories: Any, start: int) -> Any:
    return type(histories)(histories.indptr, histories.items - start, histories.weights)


def evaluate_workspace(workspace: Workspace, say: Callable[[str], None] = lambda _: None) -> None:
    """Write `reports/evaluation`.

    Raises:
        ArtifactError: a trained model is missing, damaged, or of another catalogue.
    """
    from bridgerec.evaluation.report import write_page

    params = workspace.params
    catalogue = Catalogue.read(workspace.prepared / "items.parquet")
    vectors = read_vectors(workspace, len(catalogue))
    images = read_images(workspace, len(catalogue))
    described = read_json(workspace.prepared / "splits.json")
    scripts = Scripts.of(catalogue)
    metrics: dict[str, Any] = {part: {} for part in ASKED}
    counts: dict[str, Any] = {part: {} for part in ASKED}
    people: list[pl.DataFrame] = []
    comparisons: list[dict[str, Any]] = []
    for name in track(described, "splits judged", terminal=False):
        split = Split.read(workspace.prepared, name, catalogue)
        training = split.training()
        models = {c: _models(workspace.candidate(c) / name, catalogue) for c in params.competitors}
        for part in ASKED:
            if part == "test" and "cuts" in split.info:  # who is asked later knows more by then
                say(f"{name}: models take in what was logged before the test part")
                known = replace(split.known(part), vectors=vectors, images=images)
                for model in (m for seeds in models.values() for m in seeds):
                    model.update(known)
            metrics[part][name] = {c: {} for c in params.competitors}
            counts[part][name] = {}
            for target in split.targets:
                cases = split.cases(part, target)
                if len(cases) == 0:
                    continue
                say(f"{name}, {part}, {target}: {len(cases):,} people")
                judged = _Judge(cases, part, training, catalogue, scripts, params)
                for c, seeds in models.items():
                    metrics[part][name][c][target] = judged.judge(c, seeds)
                counts[part][name][target] = judged.sizes
                people.append(judged.per_user(name, part))
                if part == "test":
                    comparisons += judged.compare(name)
    _adjust(comparisons)
    metrics["info"] = {
        "splits": described,
        "people": counts,
        "seeds": params.evaluation.seeds,
        "ks": list(params.evaluation.ks),
        "confidence": params.evaluation.confidence,
        "bootstrap": params.evaluation.bootstrap,
    }
    with atomic_folder(workspace.reports / "evaluation") as folder:
        write_json(folder / "metrics.json", metrics)
        write_json(folder / "comparisons.json", comparisons)
        summary = summarise(metrics)
        write_json(folder / "summary.json", summary)
        pl.concat(people).write_parquet(folder / "per_user.parquet")
        _write_leaderboard(folder, metrics)
        write_page(folder / "index.html", metrics, comparisons)


def _models(folder: Path, catalogue: Catalogue) -> list[Candidate]:
    found = [load(path) for path in sorted(folder.glob("seed-*"))]
    if not found:
        raise ArtifactError(f"{folder} holds no trained model; run the train stage again.")
    for candidate in found:
        check_catalogue(candidate, catalogue)
    return found


class _Judge:
    """All candidates on the same cases, with shared segments and resamples."""

    def __init__(
        self,
        cases: Cases,
        part: Part,
        training: Training,
        catalogue: Catalogue,
        scripts: Scripts,
        params: Params,
    ) -> None:
        self.cases, self.part, self.config = cases, part, params.evaluation
        self.block = catalogue.block(cases.target)
        self.segments: list[Segment] = list(segments(cases, training, catalogue, scripts))
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

    def judge(self, name: str, seeds: list[Candidate]) -> dict[str, dict[str, Any]]:
        """Segment -> metric -> value, low, high; metrics are averaged over seeds per person."""
        k = max(self.config.ks)
        rankings = [evaluate(m, self.cases, k, self.config.batch_size, self.part) for m in seeds]
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


def _adjust(comparisons: list[dict[str, Any]]) -> None:
    """Add Holm's adjusted p-value inside each split and target."""
    groups: dict[tuple[str, str], dict[frozenset[str], list[dict[str, Any]]]] = {}
    for row in comparisons:
        pairs = groups.setdefault((row["split"], row["target"]), {})
        pairs.setdefault(frozenset((row["candidate"], row["against"])), []).append(row)
    for pairs in groups.values():  # a against b and b against a are one test
        for rows, p in zip(
            pairs.values(), holm([rows[0]["p_value"] for rows in pairs.values()]), strict=True
        ):
            for row in rows:
                row["p_holm"] = p


def summarise(metrics: dict[str, Any]) -> dict[str, Any]:
    """The few numbers that `dvc metrics` shows: segment "all", part -> split -> target ->
    candidate -> metric."""
    result: dict[str, Any] = {}
    for part in ASKED:
        for split, candidates in metrics[part].items():
            for candidate, targets in candidates.items():
                for target, found in targets.items():
                    place = result.setdefault(part, {}).setdefault(split, {}).setdefault(target, {})
                    place[candidate] = {
                        m: round(found["all"][m]["value"], 6)
                        for m in ("ndcg@10", "recall@10", "hr@10")
                        if m in found["all"]
                    }
    return result


def _write_leaderboard(folder: Path, metrics: dict[str, Any]) -> None:
    rows = [
        {
            "split": split,
            "target": target,
            "candidate": candidate,
            **{m: v["value"] for m, v in found["all"].items() if "@10" in m},
        }
        for split, candidates in metrics["test"].items()
        for candidate, targets in candidates.items()
        for target, found in targets.items()
    ]
    (folder / "plots").mkdir()
    pl.DataFrame(rows).write_csv(folder / "plots" / "leaderboard.csv")
