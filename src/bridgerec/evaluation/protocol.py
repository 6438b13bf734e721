"""Every candidate on every split: rank, measure, compare, write the reports."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from bridgerec.config import Workspace
from bridgerec.data.dataset import Cases, Catalogue, Part, Split
from bridgerec.data.vectors import read_images, read_vectors
from bridgerec.errors import ArtifactError
from bridgerec.evaluation.judge import Judge
from bridgerec.evaluation.ranking import Ranking, rank_all, update_all
from bridgerec.evaluation.segments import Languages
from bridgerec.evaluation.significance import holm
from bridgerec.models.base import Candidate, check_catalogue, load
from bridgerec.progress import bar
from bridgerec.runtime import atomic_folder, read_json, write_json

ASKED: tuple[Part, ...] = ("validation", "test")


def evaluate(
    candidate: Candidate, cases: Cases, k: int = 20, batch_size: int = 512, part: Part = "test"
) -> Ranking:
    """Full ranking of the target's items for every case, seen items masked."""
    [found] = rank_all([candidate], cases, k, batch_size, part)
    return found


def evaluate_workspace(workspace: Workspace, say: Callable[[str], None] = lambda _: None) -> None:
    """Write `reports/evaluation`.

    Raises:
        ArtifactError: a trained model is missing, damaged, or of another catalogue.
    """
    from bridgerec.evaluation.report import write_page

    described = read_json(workspace.prepared / "splits.json")
    found = _Evaluation(workspace, say)
    with bar("splits judged", len(described)) as advance:
        for name in described:
            found.split(name)
            advance(1)
    metrics, comparisons = found.metrics, found.comparisons
    _adjust(comparisons)
    config = workspace.params.evaluation
    metrics["info"] = {
        "splits": described,
        "people": found.sizes,
        "seeds": config.seeds,
        "ks": list(config.ks),
        "confidence": config.confidence,
        "bootstrap": config.bootstrap,
    }
    if any(found.drawn_from.values()):
        metrics["info"]["drawn_from"] = found.drawn_from
    with atomic_folder(workspace.reports / "evaluation") as folder:
        write_json(folder / "metrics.json", metrics)
        write_json(folder / "comparisons.json", comparisons)
        write_json(folder / "summary.json", summarise(metrics))
        pl.concat(found.people).write_parquet(folder / "per_user.parquet")
        _write_leaderboard(folder, metrics)
        write_page(folder / "index.html", metrics, comparisons)


class _Evaluation:
    """What is found, split by split, of which one's models are in memory at a time.

    `metrics`: part -> split -> candidate -> target -> segment -> metric; `sizes`: part -> split ->
    target -> segment -> people; `drawn_from`: part -> split -> target -> how many people there are,
    where not all are asked.
    """

    def __init__(self, workspace: Workspace, say: Callable[[str], None]) -> None:
        self.workspace, self.params, self.say = workspace, workspace.params, say
        self.catalogue = Catalogue.read(workspace.prepared / "items.parquet")
        self.languages = Languages.of(self.catalogue)
        self.vectors = read_vectors(workspace, len(self.catalogue))
        self.images = read_images(workspace, len(self.catalogue))
        self.metrics: dict[str, Any] = {part: {} for part in ASKED}
        self.sizes: dict[str, Any] = {part: {} for part in ASKED}
        self.drawn_from: dict[str, Any] = {part: {} for part in ASKED}
        self.people: list[pl.DataFrame] = []
        self.comparisons: list[dict[str, Any]] = []

    def split(self, name: str) -> None:
        split = Split.read(self.workspace.prepared, name, self.catalogue)
        training = split.training()
        models = _models(self.workspace, name, self.catalogue)
        for part in ASKED:
            if part == "test" and "cuts" in split.info:  # who is asked later knows more by then
                self.say(f"{name}: models take in what was logged before the test part")
                known = replace(split.known(part), vectors=self.vectors, images=self.images)
                update_all([m for seeds in models.values() for m in seeds], known)
            self.metrics[part][name] = {c: {} for c in self.params.competitors}
            self.sizes[part][name] = {}
            for target in split.targets:
                cases = self._cases(split, part, target)
                if len(cases):
                    judge = Judge(cases, training, self.catalogue, self.languages, self.params)
                    self._judge(judge, models, name, part)

    def _cases(self, split: Split, part: Part, target: str) -> Cases:
        everybody, config = split.cases(part, target), self.params.evaluation
        cases = everybody.sample(config.max_cases, self.params.seed)
        if len(cases):
            count = f"{len(cases):,} of {len(everybody):,}"
            self.say(f"{split.name}, {part}, {target}: {count} people")
        if len(cases) < len(everybody):
            self.drawn_from[part].setdefault(split.name, {})[target] = len(everybody)
        return cases

    def _judge(
        self, judge: Judge, models: dict[str, list[Candidate]], split: str, part: Part
    ) -> None:
        cases, config = judge.cases, self.params.evaluation
        every = [m for seeds in models.values() for m in seeds]
        found = iter(rank_all(every, cases, max(config.ks), config.batch_size, part))
        for c, seeds in models.items():
            rankings = list(islice(found, len(seeds)))
            self.metrics[part][split][c][cases.target] = judge.judge(c, rankings)
        self.sizes[part][split][cases.target] = judge.sizes
        self.people.append(judge.per_user(split, part))
        if part == "test":
            self.comparisons += judge.compare(split)


def _models(workspace: Workspace, split: str, catalogue: Catalogue) -> dict[str, list[Candidate]]:
    """Every competitor's trained models, one per seed; the blend's members are those very ones."""
    loaded: dict[Path, Candidate] = {}
    found: dict[str, list[Candidate]] = {}
    for name in workspace.params.competitors:  # the blend comes last
        folder = workspace.candidate(name) / split
        found[name] = []
        for path in sorted(folder.glob("seed-*")):
            loaded[path.resolve()] = candidate = load(path, loaded)
            check_catalogue(candidate, catalogue)
            found[name].append(candidate)
        if not found[name]:
            raise ArtifactError(f"{folder} holds no trained model; run the train stage again.")
    return found


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
