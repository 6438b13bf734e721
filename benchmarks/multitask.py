"""What kinds of events (view, like, purchase, …) add to `Sequence`, on simulated people.

    python benchmarks/multitask.py [--people 3000] [--items 1000] [--seeds 3] [--out FOLDER]

Two worlds.  In the simulator's own, what follows a view is drawn without regard to the person, so
that kinds have nothing to tell.  In the other the views are the same, but what follows depends on
how well the item fits the person's taste, whatever its general appeal: people look at what is
known, and buy what they like.  One `Sequence` per variant and seed is trained on the temporal
split, with the demo's options but smaller batches, so that these few people give enough steps.
Prints Markdown: NDCG@10 on test of everything that was met, and of what was liked (films) or bought
(kitchenware) alone, asked with and without a wish for that kind; differences to the plain model are
paired over people, means over seeds, with 95 % intervals.  What is finished is kept in FOLDER, so
that a run which was interrupted goes on.
"""

import argparse
import tempfile
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import yaml
from safetensors.numpy import load_file

from bridgerec.config import Model
from bridgerec.data.dataset import Cases, Training
from bridgerec.data.simulate import DOMAINS, true_items
from bridgerec.data.simulation.words import EVENTS
from bridgerec.evaluation.metrics import case_metrics
from bridgerec.evaluation.protocol import evaluate
from bridgerec.evaluation.significance import Bootstrap
from bridgerec.models.base import Candidate, build
from bridgerec.runtime import prepare_environment, read_json
from simulated import PARAMS, SEED, world
from stages import kept, table

WAYS = ("all", "silent", "wish")  # everything; that kind alone; the same, asked for
WANTED = {"films": "like", "kitchenware": "purchase"}
STEPS = {"batch_size": 32, "learning_rate": 0.005}
VARIANTS: dict[str, dict[str, object]] = {
    "plain": {},
    "input": {"event_input": True},
    "second task, 0.1": {"event_weight": 0.1},
    "second task, 0.5": {"event_weight": 0.5},
    "second task, learned weights": {"event_weight": None},
    "input and second task, 0.1": {"event_input": True, "event_weight": 0.1},
}


def let_kinds_tell(root: Path) -> None:
    """Draw anew what follows each view: likelier by the fit of person and item, as often in all."""
    meta = read_json(root / "truth" / "truth.json")
    tastes = load_file(root / "truth" / "truth.safetensors")["tastes"]
    rng = np.random.default_rng(SEED)
    for domain, ending in DOMAINS.items():
        path = root / "data" / domain / f"interactions.{ending}"
        read = pl.read_csv if ending == "csv" else pl.read_ndjson
        views = (
            read(path).filter(pl.col("kind") == "view").with_columns(value=pl.lit(None, pl.Float64))
        )
        user = views["user_id"].replace_strict({u: i for i, u in enumerate(meta["users"])})
        item = views["item_id"].replace_strict({x: i for i, x in enumerate(meta["items"][domain])})
        fit = (tastes[user] * true_items(root, domain).themes[item]).sum(1)
        fit = (fit - fit.mean()) / fit.std()
        kinds = {kind: share for kind, share in EVENTS[domain] if kind != "view"}
        chance = 1 / (1 + np.exp(-3 * fit))
        chance *= sum(kinds.values()) / chance.mean()
        follows = rng.random(len(views)) < chance
        share = np.array([*kinds.values()]) / sum(kinds.values())
        more = views.filter(pl.Series(follows)).with_columns(
            kind=pl.Series(rng.choice([*kinds], int(follows.sum()), p=share)),
            timestamp=pl.col("timestamp") + pl.Series(rng.integers(60, 7200, int(follows.sum()))),
        )
        both = pl.concat([views, more]).sort("timestamp", "user_id", "item_id", "kind")
        both.write_csv(path) if ending == "csv" else both.write_ndjson(path)


def of_kind(cases: Cases, kind: int) -> Cases:
    """Only what happened in this way, and who did it; the question wishes for it."""
    assert cases.relevant.event_kind is not None
    relevant = cases.relevant.where(cases.relevant.event_kind == kind)
    people = np.flatnonzero(relevant.lengths)
    wanted = np.full(len(people), kind, dtype=np.int8)
    histories = replace(cases.histories.take(people), wanted=wanted)
    return replace(
        cases, users=cases.users[people], histories=histories, relevant=relevant.take(people)
    )


def ndcg(candidate: Candidate, cases: Cases) -> np.ndarray:
    ranking = evaluate(candidate, cases, k=10)
    return case_metrics(ranking.rank, cases.relevant.indptr, (10,))["ndcg@10"]


def silent(cases: Cases) -> Cases:
    return replace(cases, histories=replace(cases.histories, wanted=None))


def answered(
    entry: Model, seed: int, training: Training, asked: dict[str, Cases], wishes: dict[str, Cases]
) -> dict[str, dict[str, list[float]]]:
    """NDCG@10 of everybody, per target and way of asking, of a model trained from this seed."""
    candidate = build("sequence", entry, SEED + seed)
    candidate.train(training)
    found = {}
    for target in asked:
        questions = (asked[target], silent(wishes[target]), wishes[target])
        values = (ndcg(candidate, cases).tolist() for cases in questions)
        found[target] = dict(zip(WAYS, values, strict=True))
    return found


def main() -> None:
    prepare_environment()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=3000)
    parser.add_argument("--items", type=int, default=1000, help="per domain")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    models = yaml.safe_load(PARAMS.read_text())["models"]
    with tempfile.TemporaryDirectory() as folder:
        for telling in (False, True):
            root = Path(folder) / f"telling-{telling}"
            change = let_kinds_tell if telling else lambda _: None
            cache = Path(folder) / "cache"
            split, vectors = world(root, SEED, options.people, options.items, change, cache)
            training = replace(split.training(), vectors=vectors)
            asked = {t: split.cases("test", t) for t in split.targets}
            wishes = {t: of_kind(c, split.event_kinds.index(WANTED[t])) for t, c in asked.items()}
            found: dict[tuple[str, str, str], np.ndarray] = {}
            for variant, changes in VARIANTS.items():
                entry = Model.model_validate({**models["sequence"], **STEPS, **changes})
                drawn = []
                for seed in range(options.seeds):
                    path = options.out and options.out / f"{variant}-{telling}-{seed}.json"
                    run = partial(answered, entry, seed, training, asked, wishes)
                    drawn.append(kept(path, run))
                for target, name in product(asked, WAYS):
                    own = [values[target][name] for values in drawn]
                    found[variant, target, name] = np.mean(own, axis=0)
            told = "kinds follow taste" if telling else "kinds by chance"
            print(f"\n{told}\n\n{described(found, asked, wishes)}", flush=True)


def described(
    found: dict[tuple[str, str, str], np.ndarray], asked: dict[str, Cases], wishes: dict[str, Cases]
) -> str:
    rows = []
    for target in asked:
        for variant in VARIANTS:
            cells = []
            for name in WAYS:
                plain, own = found["plain", target, name], found[variant, target, name]
                gap = Bootstrap(len(own), 2000, 0.95, SEED).difference(own, plain)
                cells.append(f"{own.mean():.4f}")
                if variant != "plain":
                    cells[-1] += f" ({gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}])"
            people = f"{len(asked[target]):,}; {len(wishes[target]):,}"
            rows.append([f"{target} ({people})", variant, *cells])
    head = ["target (people; of that kind)", "variant", "everything", "that kind", "asked for it"]
    return table(head, rows)


if __name__ == "__main__":
    main()
