"""Noise and push attacks on simulated data, with and without `prepare.suspicious`.

    python benchmarks/robustness.py [--seeds 2] [--people 1500] [--items 300] [--models NAME ...]
        [--out FOLDER]

Rows are added to the training part of the temporal split of a clean world, so that every level is
asked the same questions of the same honest people, about films.  Fake people push three films
that few met.  `Sequence` has more steps than in the demo.  Prints Markdown: NDCG@10, and the share
of honest people with a pushed film among their ten best, means over seeds with the standard error;
and whom the option finds.  The added rows of one seed are the same for every model.
What is finished is kept in FOLDER, so that a run which was interrupted goes on.
"""

import argparse
import tempfile
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from bridgerec.config import KCore, Model
from bridgerec.data.dataset import Split
from bridgerec.data.simulation.attack import PREFIX, Attack, noise, push
from bridgerec.data.split import Assignment, Pairs, k_core
from bridgerec.data.suspicion import set_aside
from bridgerec.evaluation.metrics import case_metrics
from bridgerec.evaluation.protocol import evaluate
from bridgerec.models.base import build
from bridgerec.runtime import prepare_environment
from simulated import PARAMS, SEED, world
from stages import kept

TARGET, THRESHOLD, CORE = "films", 6.0, KCore(user=2, item=2)
FGM = {"adversarial_weight": 1.0}
VIEWS = {"view_weight": 0.1}
# smaller batches than the demo's: else so few people give too few steps to learn anything
STEPS = {"batch_size": 32, "learning_rate": 0.005, "epochs": 4}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "ease_text": ("ease_text", {}),
    "two_tower": ("two_tower", {}),
    "two_tower, FGM": ("two_tower", FGM),
    "two_tower, views": ("two_tower", VIEWS),
    "sequence": ("sequence", STEPS),
    "sequence, FGM": ("sequence", {**STEPS, **FGM}),
    "sequence, views": ("sequence", {**STEPS, **VIEWS}),
}
LEVELS: list[tuple[str, float]] = [
    ("clean", 0), ("noise", 0.1), ("noise", 0.3),
    ("average", 0.06), ("bandwagon", 0.06), ("burst", 0.06),
]  # fmt: skip


def seldom(split: Split) -> tuple[str, ...]:
    """Three films that few people met, by their index as text."""
    block = split.catalogue.block(TARGET)
    count = np.bincount(split.item[split.part == 0], minlength=len(split.catalogue))[block]
    order = np.argsort(count, kind="stable") + block.start
    return tuple(str(i) for i in order[len(order) // 4 :][:3])


def polluted(split: Split, kind: str, level: float, seed: int) -> tuple[Assignment, Pairs, int]:
    """The split with more training rows, the pairs that it runs over, and the first fake person's
    number; rows of known (person, item) are not added."""
    assert split.timestamp is not None
    table = pl.DataFrame(
        {
            "user_id": split.user.astype(str), "item_id": split.item.astype(str),
            "timestamp": split.timestamp, "weight": split.weight, "part": split.part,
        }
    )  # fmt: skip
    train = table.filter(pl.col("part") == 0)
    start = int(split.info["cuts"][0]) - 60 * 86_400
    block = split.catalogue.block(TARGET)
    films = train.filter(pl.col("item_id").cast(pl.Int64).is_between(block.start, block.stop - 1))
    honest = int(split.user.max()) + 1
    if kind == "clean":
        more = train.clear()
    elif kind == "noise":
        more = noise(train, level, seed)
    else:
        attack = Attack(kind, round(level * honest), seldom(split), start)  # type: ignore[arg-type]
        more = push(films, attack, seed)
    more = more.join(table, on=["user_id", "item_id"], how="anti")
    fake = pl.col("user_id").str.starts_with(PREFIX)
    number = pl.col("user_id").str.strip_prefix(PREFIX).cast(pl.Int32)
    rows = (
        pl.concat([table, more])
        .with_columns(pl.when(fake).then(number + honest).otherwise(number).alias("user"))
        .with_columns(pl.col("item_id").cast(pl.Int32).alias("item"))
        .unique(["user", "item"], keep="first", maintain_order=True)
        .sort("user", "timestamp", maintain_order=True)
    )
    user, item, part = (rows[c].to_numpy() for c in ("user", "item", "part"))
    count, weight = np.arange(len(rows)), rows["weight"].to_numpy()
    pairs = Pairs(user, item, rows["timestamp"].to_numpy(), count, count[:0], count[:0], weight)
    fit = k_core(user, item, part == 0, CORE)
    return Assignment("temporal", split.targets, None, part, weight, fit, split.info), pairs, honest


def measured(
    name: str, assignment: Assignment, pairs: Pairs, clean: Split, vectors: np.ndarray, seed: int
) -> tuple[float, float]:
    """NDCG@10, and the share of people with a pushed film among their ten best."""
    split = replace(
        clean, user=pairs.user, item=pairs.item, timestamp=pairs.timestamp,
        weight=assignment.weight, part=assignment.part, fit=assignment.fit,
        event_kind=None,  # added rows have none, and no model here asks
    )  # fmt: skip
    base, changes = MODELS[name]
    options = {**yaml.safe_load(PARAMS.read_text())["models"][base], **changes}
    candidate = build(name, Model.model_validate(options), seed)
    candidate.train(replace(split.training(), vectors=vectors))
    cases = split.cases("test", TARGET)
    ranking = evaluate(candidate, cases, k=10)
    found = case_metrics(ranking.rank, cases.relevant.indptr, [10])["ndcg@10"]
    pushed = np.array(seldom(clean), dtype=np.int64) - clean.catalogue.block(TARGET).start
    return float(found.mean()), float(np.isin(ranking.top, pushed).any(axis=1).mean())


def main() -> None:
    prepare_environment()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--people", type=int, default=1500)
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    options = parser.parse_args()
    quality: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    found: dict[tuple[str, float], list[tuple[float, float]]] = {}
    for seed in range(SEED, SEED + options.seeds):
        with tempfile.TemporaryDirectory() as name:
            clean, vectors = world(Path(name), seed, options.people, options.items)
        domain = clean.catalogue.domain_of(np.arange(len(clean.catalogue)))
        for kind, level in LEVELS:
            plain, pairs, honest = polluted(clean, kind, level, seed)
            careful, table = set_aside(plain, pairs, domain, THRESHOLD, CORE)
            caught, fakes = int((table["user"] >= honest).sum()), int(pairs.user.max()) + 1 - honest
            wrong = (len(table) - caught) / honest
            found.setdefault((kind, level), []).append((caught / fakes if fakes else np.nan, wrong))
            same = np.array_equal(plain.fit, careful.fit)
            for model, option in product(options.models, ("off", "on")):
                key = (kind, level, model, option)
                if option == "on" and same:
                    quality.setdefault(key, []).append(quality[(*key[:3], "off")][-1])
                    continue
                path = options.out and options.out / f"{seed}-{kind}-{level}-{model}-{option}.json"
                chosen = careful if option == "on" else plain
                run = partial(measured, model, chosen, pairs, clean, vectors, seed)
                quality.setdefault(key, []).append(kept(path, run))
    print(f"{options.seeds} worlds of {options.people:,} people and {options.items:,} films\n")
    print("| added | level | fake people found | honest people set aside |\n" + "| --- " * 4 + "|")
    for (kind, level), values in found.items():
        share, wrong = np.mean(values, axis=0)
        print(
            f"| {kind} | {level:.0%} | {'–' if np.isnan(share) else f'{share:.0%}'} | {wrong:.1%} |"
        )
    head = "| added | level | model | NDCG@10, off | on | pushed in top 10, off | on |"
    print(f"\n{head}\n" + "| --- " * 7 + "|")
    for kind, level in LEVELS:
        for model in options.models:
            cells = []
            for metric in (0, 1):
                for option in ("off", "on"):
                    values = np.array(quality[kind, level, model, option])[:, metric]
                    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0
                    pushed = f"{values.mean():.1%}"
                    cells.append(pushed if metric else f"{values.mean():.4f} ± {error:.4f}")
            print(f"| {kind} | {level:.0%} | {model} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
