"""Every candidate on every split: rank, measure, compare, write the reports."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from bridgerec.config import Params, Workspace
from bridgerec.data.dataset import Cases, Catalogue, Part, Split
from bridgerec.data.vectors import read_images, read_vectors
from bridgerec.errors import ArtifactError
from bridgerec.evaluation.judge import Judge
from bridgerec.evaluation.ranking import Ranking, rank_all, update_all
from bridgerec.evaluation.significance import holm
from bridgerec.models.base import Candidate, check_catalogue, load
from bridgerec.progress import track
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

    params = workspace.params
    catalogue = Catalogue.read(workspace.prepared / "items.parquet")
    vectors = read_vectors(workspace, len(catalogue))
    images = read_images(workspace, len(catalogue))
    described = read_json(workspace.prepared / "splits.json")
    metrics: dict[str, Any] = {part: {} for part in ASKED}
    counts: dict[str, Any] = {part: {} for part in ASKED}
    people: list[pl.DataFrame] = []
    comparisons: list[dict[str, Any]] = []
    for name in track(described, "splits judged", terminal=False):
        split = Split.read(workspace.prepared, name, catalogue)
        training = split.training()
        models = _models(workspace, name, catalogue)
        for part in ASKED:
            if part == "test" and "cuts" in split.info:  # who is asked later knows more by then
                say(f"{name}: models take in what was logged before the test part")
                known = replace(split.known(part), vectors=vectors, images=images)
                update_all([m for seeds in models.values() for m in seeds], known)
            metrics[part][name] = {c: {} for c in params.competitors}
            counts[part][name] = {}
            for target in split.targets:
                cases = split.cases(part, target)
                if len(cases) == 0:
                    continue
                say(f"{name}, {part}, {target}: {len(cases):,} people")
                judged = Judge(cases, training, catalogue, params)
                for c, rankings in _rankings(models, cases, part, params).items():
                    metrics[part][name][c][target] = judged.judge(c, rankings)
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


def _rankings(
    models: dict[str, list[Candidate]], cases: Cases, part: Part, params: Params
) -> dict[str, list[Ranking]]:
    """What every competitor's models did, one per seed."""
    config, every = params.evaluation, [m for seeds in models.values() for m in seeds]
    found = iter(rank_all(every, cases, max(config.ks), config.batch_size, part))
    return {name: list(islice(found, len(seeds))) for name, seeds in models.items()}


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
