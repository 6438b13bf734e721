"""How near the winner comes to knowing everybody's true preference, on simulated data.

    python benchmarks/oracle.py OUT [--workspace WORKSPACE] [--params params.yaml] [--seed 42]

Works in OUT alone: a copy of the simulated WORKSPACE, or a new one from the simulator and the
parameters of the demo.  Runs there what is not finished, and compares whoever was chosen on
validation with references that no model can be, on the same test cases, by NDCG@10 over the whole
target:

- `oracle` ranks by the true preferences, which the simulator keeps in `truth/`;
- `oracle, on sale` knows also which items nobody could meet, and leaves them out;
- `ideal` knows all that can be known of the items (themes and appeal) and how tastes are spread,
  but of a person only the history that models get, and ranks by the preference to be expected
  (Bayes).  What lies between it and the oracle is not in the rows;
- `ideal, appeal counted` knows themes, and the tastes of all people it learns from, but has to
  estimate each item's appeal from the training rows.

Ratios are of means over the same people, with 95 % bootstrap intervals.
"""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray
from safetensors.numpy import load_file

from bridgerec.config import BLEND, Workspace
from bridgerec.data.dataset import Cases, Catalogue, Histories, Split
from bridgerec.data.simulate import simulate, true_items, true_preferences
from bridgerec.data.simulation.catalogue import SimulatedItems
from bridgerec.data.simulation.people import CONCENTRATION, YEAR_START, utilities
from bridgerec.errors import DataError
from bridgerec.evaluation.metrics import case_metrics, ranks
from bridgerec.evaluation.significance import Bootstrap
from bridgerec.runtime import read_json
from stages import run, table

Floats = NDArray[np.float32]
REFERENCES = ("oracle", "oracle, on sale", "ideal", "ideal, appeal counted")
CHUNK = 2000  # tastes at a time
STEPS = 60  # towards the likeliest appeal


def make(root: Path, params: Path, seed: int, users: int, items: int) -> None:
    """A workspace of simulated data, without the protocol leave-last."""
    root.mkdir(parents=True)
    simulate(root, seed, users, items)
    found = yaml.safe_load(params.read_text())
    found["split"]["protocols"] = ["temporal", "cold_start"]
    (root / "params.yaml").write_text(yaml.safe_dump(found, sort_keys=False))


def copy(workspace: Path, root: Path) -> None:
    """What a workspace of simulated data holds, finished or not, but for its traffic and releases.

    Raises:
        DataError: its truth is not kept.
    """
    if not (workspace / "truth" / "truth.json").is_file():
        raise DataError(f"{workspace} has no truth/; `bridgerec simulate` writes it with the data.")
    for name in ("data", "truth", "artifacts", "reports"):
        if (workspace / name).is_dir():
            shutil.copytree(workspace / name, root / name, symlinks=True)
    shutil.copy(workspace / "params.yaml", root / "params.yaml")


def unfinished(workspace: Workspace) -> list[str]:
    """The stages without outputs, which appear as a whole; from the first on all that follow."""
    params = workspace.params
    outputs = {
        "prepare": workspace.prepared,
        "embed": workspace.vectors,
        **{f"train {c}": workspace.candidate(c) for c in params.candidates},
        "blend": workspace.candidate(BLEND),
        "evaluate": workspace.reports / "evaluation",
        "select": workspace.reports / "decision.json",
    }
    missing = [stage for stage, path in outputs.items() if not path.exists()]
    if missing and missing[0] in ("prepare", "embed"):
        return [*outputs][[*outputs].index(missing[0]) :]
    last = ["blend", "evaluate", "select"]
    return [s for s in missing if s.startswith("train")] + last if missing else []


def ndcg(scores: Floats, cases: Cases, block: slice) -> NDArray[np.float64]:
    """NDCG@10 of each case, shape (n,), seen items masked; `scores` (n, items of the target)."""
    seen, relevant = (
        Histories(h.indptr, h.items - block.start, h.weights)
        for h in (cases.histories.within(block), cases.relevant)
    )
    return case_metrics(ranks(scores, seen, relevant), relevant.indptr, (10,))["ndcg@10"]


def truth(workspace: Workspace, catalogue: Catalogue, cases: Cases) -> Floats:
    """The true preferences of the people who are asked, (n, items of the target).

    Raises:
        DataError: the catalogue is not the simulator's.
    """
    users, items, found = true_preferences(workspace.root, cases.target)
    if catalogue.items["item_id"][catalogue.block(cases.target)].to_list() != items:
        raise DataError(f"truth/ is about other items of {cases.target} than the catalogue has.")
    place = {user: i for i, user in enumerate(users)}
    ids = pl.read_parquet(workspace.prepared / "users.parquet")["user_id"]
    return found[[place[ids[int(user)]] for user in cases.users]].astype(np.float32)


def counted(
    workspace: Workspace, split: Split, domain: str, items: SimulatedItems
) -> SimulatedItems:
    """The items with the likeliest appeal given the training rows, a normal prior with the true
    appeal's mean and spread, and the true tastes of the people in these rows."""
    block = split.catalogue.block(domain)
    # as in the evaluation: whoever is asked at a moment may know all rows before it
    training = split.known("test") if "cuts" in split.info else split.training()
    own = training.histories.within(block)
    tastes = people_tastes(workspace, training.users)
    met, count = own.lengths, np.bincount(own.items - block.start, minlength=len(items.appeal))
    people = np.flatnonzero(met)
    fit = utilities(tastes[people], replace(items, appeal=np.zeros(len(items.appeal))))
    assert own.timestamp is not None
    day = (own.timestamp - YEAR_START) // 86_400
    open_share = (day[None] >= items.released[:, None]).mean(1)
    mean, variance = items.appeal.mean(), items.appeal.var()
    appeal = np.full(len(items.appeal), mean)
    for _ in range(STEPS):
        u = fit + appeal
        chance = np.exp(u - u.max(1, keepdims=True))
        chance *= (met[people] / chance.sum(1))[:, None]
        usual = chance.sum(0) * open_share
        slope = count - usual - (appeal - mean) / variance
        appeal = appeal + np.clip(slope / (usual + 1 / variance), -1, 1)
    return replace(items, appeal=appeal)


def people_tastes(workspace: Workspace, users: NDArray[np.int64]) -> NDArray[np.float64]:
    """The true tastes of people by their numbers in the workspace, (n, themes)."""
    meta = read_json(workspace.root / "truth" / "truth.json")
    tastes = load_file(workspace.root / "truth" / "truth.safetensors")["tastes"]
    place = {user: i for i, user in enumerate(meta["users"])}
    ids = pl.read_parquet(workspace.prepared / "users.parquet")["user_id"]
    found: NDArray[np.float64] = tastes[[place[ids[int(user)]] for user in users]]
    return found


def log_preferences(tastes: NDArray[np.float64], items: SimulatedItems) -> Floats:
    """Logarithms of preference probabilities, shape (tastes, items)."""
    u = utilities(tastes, items).astype(np.float32)
    u -= u.max(1, keepdims=True)
    u -= np.log(np.exp(u).sum(1, keepdims=True))
    return u


def expected(
    items: dict[str, SimulatedItems], catalogue: Catalogue, cases: Cases, draws: int, seed: int
) -> Floats:
    """Expected preferences given the histories, (n, items of the target).

    Tastes are drawn from the simulator's prior and weighted by the likelihood of each history
    (importance sampling).  An item that was met twice counts once, as in `Cases`.
    """
    count = items[cases.target].themes.shape[1]
    tastes = np.random.default_rng(seed).dirichlet(np.full(count, CONCENTRATION), draws)
    chunks = [slice(start, start + CHUNK) for start in range(0, draws, CHUNK)]
    likelihood = np.zeros((len(cases), draws), dtype=np.float32)
    for domain, own in items.items():
        block = catalogue.block(domain)
        known = cases.histories.within(block)
        met = np.zeros((len(cases), block.stop - block.start), dtype=np.float32)
        met[known.rows, known.items - block.start] = 1
        for chunk in chunks if met.any() else ():
            likelihood[:, chunk] += met @ log_preferences(tastes[chunk], own).T
    weight = np.exp(likelihood - likelihood.max(1, keepdims=True))
    weight /= weight.sum(1, keepdims=True)
    target = items[cases.target]
    return sum(
        (weight[:, chunk] @ np.exp(log_preferences(tastes[chunk], target)) for chunk in chunks),
        np.zeros((len(cases), len(target.appeal)), dtype=np.float32),
    )


def compare(workspace: Workspace, draws: int) -> str:
    """One table: per split, target and route the winner, the references and the ratios."""
    params = workspace.params
    catalogue = Catalogue.read(workspace.prepared / "items.parquet")
    routes = read_json(workspace.reports / "decision.json")["routes"]
    judged = pl.read_parquet(workspace.reports / "evaluation" / "per_user.parquet")
    items = {d: true_items(workspace.root, d) for d in catalogue.domains}
    rows = []
    for name in read_json(workspace.prepared / "splits.json"):
        split = Split.read(workspace.prepared, name, catalogue)
        winner = routes["cold_start" if name.startswith("cold_start") else "warm"]
        for target in split.targets:
            cases, block = split.cases("test", target), catalogue.block(target)
            chosen = (pl.col("split") == name) & (pl.col("part") == "test")
            chosen &= (pl.col("target") == target) & (pl.col("candidate") == winner)
            own = judged.filter(chosen).sort("user")
            assert np.array_equal(own["user"].to_numpy(), cases.users)
            true = truth(workspace, catalogue, cases)
            learned = {d: counted(workspace, split, d, own_items) for d, own_items in items.items()}
            references = {
                "oracle": true,
                "oracle, on sale": np.where(items[target].cold, 0, true),
                "ideal": expected(items, catalogue, cases, draws, params.seed),
                "ideal, appeal counted": expected(learned, catalogue, cases, draws, params.seed),
            }
            values = [
                own["ndcg@10"].to_numpy(),
                *(ndcg(references[r], cases, block) for r in REFERENCES),
            ]
            bootstrap = Bootstrap(
                len(cases), params.evaluation.bootstrap, params.evaluation.confidence, params.seed
            )
            found = np.stack(values, axis=1)
            drawn = bootstrap.means(found, np.ones(len(cases), dtype=bool))
            low, high = np.quantile(drawn[:, :1] / drawn, bootstrap.quantiles, axis=0)
            mean = found.mean(0)
            ratios = [
                f"{mean[0] / mean[i]:.2f} [{low[i]:.2f}, {high[i]:.2f}]"
                for i in range(1, len(mean))
            ]
            rows.append(
                [name, f"{target} ({len(cases):,})", winner, *(f"{m:.4f}" for m in mean), *ratios]
            )
    head = ["split", "target (people)", "winner", "NDCG@10", *REFERENCES]
    return table([*head, *(f"winner / {r}" for r in REFERENCES)], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--workspace", type=Path, help="of simulated data; is left as it is")
    parser.add_argument("--params", type=Path, default=Path(__file__).parents[1] / "params.yaml")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--users", type=int, default=3000)
    parser.add_argument("--items", type=int, default=2000, help="per domain")
    parser.add_argument("--draws", type=int, default=40_000, help="tastes, for the ideal reader")
    options = parser.parse_args()
    if not options.out.exists() and options.workspace:
        options.out.mkdir(parents=True)
        copy(options.workspace, options.out)
    elif not options.out.exists():
        make(options.out, options.params, options.seed, options.users, options.items)
    workspace = Workspace.open(options.out)
    run(workspace, unfinished(workspace))
    print(compare(workspace, options.draws))


if __name__ == "__main__":
    main()
