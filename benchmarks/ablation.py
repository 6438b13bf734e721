"""What each part of a candidate adds: the same candidate with it and without it, on validation.

    python benchmarks/ablation.py WORKSPACE --out FOLDER [--only two_tower] [--parts PART …]

WORKSPACE is prepared and embedded, and only read.  Every variant is trained on the rows that all
candidates get and judged on the people of validation; their NDCG@10 is kept in FOLDER, so that a
variant which is finished is not run again.  The full candidate is the one that WORKSPACE has
trained, if it has.  Prints Markdown of what is finished: the means with the part and without it,
the difference paired over people with its 95 % bootstrap interval, and p after Holm's adjustment
over the whole table.  Once WORKSPACE has been evaluated, the blend is compared with the best of
its members too.

Differences are between one training and another: what chance alone does to the models that draw
random numbers is in the row "another seed".
"""

import argparse
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridgerec.config import BLEND, Workspace
from bridgerec.data.dataset import Catalogue, Split, Training
from bridgerec.data.vectors import read_vectors
from bridgerec.encoders.cache import EmbeddingCache
from bridgerec.encoders.text import item_texts
from bridgerec.encoders.whitening import Whitening
from bridgerec.errors import ArtifactError
from bridgerec.evaluation.metrics import case_metrics
from bridgerec.evaluation.protocol import evaluate
from bridgerec.evaluation.significance import Bootstrap, holm
from bridgerec.models.base import Candidate, build, check_catalogue, load
from bridgerec.runtime import atomic_file, read_json
from stages import table

Floats = NDArray[np.float32]
METRIC = "ndcg@10"
FULL = "full"
Vectors = Literal["stored", "pca", "zca", "none", "random"]


@dataclass(frozen=True)
class Variant:
    """The candidate as params.yaml has it (`full`) but for `options`; `vectors` are `stored`,
    whitened in another way, or `random`; `alone` takes away all rows of other domains than the
    target.  `added`: the variant is the one that has the part, and `full` is without it."""

    options: dict[str, Any] = field(default_factory=dict)
    vectors: Vectors = "stored"
    alone: bool = False
    seed: int = 0
    added: bool = False


VARIANTS = {
    "ease_text": {
        FULL: Variant(),
        "text": Variant({"text_weight": 0}),
        "text between domains": Variant({"text_between_domains": True}, added=True),
        "order": Variant({"recency": 1}),
        "second domain": Variant(alone=True),
        "whitening (pca against none)": Variant(vectors="none"),
        "whitening (pca against zca)": Variant(vectors="zca"),
    },
    "two_tower": {
        FULL: Variant(),
        "text (against random vectors)": Variant(vectors="random"),
        "second domain": Variant(alone=True),
        "trends": Variant({"half_lives": ()}),
        "contrast of a person's domains": Variant({"person_weight": 0.1}, added=True),
        "contrast of items": Variant({"item_weight": 0.1}, added=True),
        "contrast of augmented views": Variant({"view_weight": 0.1}, added=True),
        "adversarial training": Variant({"adversarial_weight": 0.5}, added=True),
        "propagation, 1 step": Variant({"propagation": 1}, added=True),
        "propagation, 2 steps": Variant({"propagation": 2}, added=True),
        "propagation, 3 steps": Variant({"propagation": 3}, added=True),
        "adaptor mlp (against linear)": Variant({"adaptor": "mlp"}, added=True),
        "adaptor moe (against linear)": Variant({"adaptor": "moe"}, added=True),
        "whitening (pca against none)": Variant(vectors="none"),
        "another seed": Variant(seed=1),
    },
}
SPLITS = {"ease_text": ("leave_last", "temporal"), "two_tower": ("leave_last",)}


def item_vectors(workspace: Workspace, catalogue: Catalogue, kind: Vectors) -> Floats:
    """Vectors (n_items, size) as `Variant.vectors` names them; the embed stage's own but for the
    whitening, from the raw vectors that it left in its cache.

    Raises:
        ArtifactError: the cache lacks some texts.
    """
    stored = read_vectors(workspace, len(catalogue))
    if kind == "stored":
        return stored
    if kind == "random":
        drawn = np.random.default_rng(workspace.params.seed).standard_normal(stored.shape)
        lengths = np.linalg.norm(drawn, axis=1, keepdims=True)
        return np.asarray(drawn / lengths, dtype=np.float32)
    config = workspace.params.embed
    texts = item_texts(catalogue.items, config.fields, config.max_characters)
    fingerprint = read_json(workspace.vectors / "encoder.json")["fingerprint"]
    known = EmbeddingCache(workspace.embedding_cache, fingerprint).get(texts)
    if missing := sum(bool(t) and t not in known for t in texts):
        raise ArtifactError(
            f"{workspace.embedding_cache} lacks {missing:,} texts. Run the embed stage again."
        )
    nothing = np.zeros_like(next(iter(known.values())))
    raw = np.stack([known.get(text, nothing) for text in texts])
    usable = np.any(raw != 0, axis=1)
    for name in read_json(workspace.prepared / "splits.json"):
        usable &= Split.read(workspace.prepared, name, catalogue).training().seen
    domain = catalogue.domain_of(np.arange(len(catalogue)))
    whitening = Whitening.fit(
        raw[usable], domain[usable], None, config.whitening_epsilon, kind, config.domain_means
    )
    return whitening.apply(raw, domain)


def fitted(workspace: Workspace, name: str, variant: Variant, training: Training) -> Candidate:
    model = workspace.params.models[name]
    changed = type(model).model_validate({**model.model_dump(), **variant.options})
    candidate = build(name, changed, workspace.params.seed + variant.seed)
    candidate.train(training)
    return candidate


def judge(workspace: Workspace, name: str, variant: Variant, split_name: str) -> pl.DataFrame:
    """Train and ask: columns `target`, `user` and NDCG@10."""
    catalogue = Catalogue.read(workspace.prepared / "items.parquet")
    split = Split.read(workspace.prepared, split_name, catalogue)
    vectors = item_vectors(workspace, catalogue, variant.vectors)
    training = replace(split.training(), vectors=vectors)
    trained = workspace.candidate(name) / split_name / "seed-0"
    candidate = None
    if variant == Variant() and trained.exists():
        candidate = load(trained)
        check_catalogue(candidate, catalogue)
    elif not variant.alone:
        candidate = fitted(workspace, name, variant, training)
    found = []
    for target in split.targets:
        cases, block = split.cases("validation", target), catalogue.block(target)
        asked = candidate
        if asked is None:
            own = replace(training, histories=training.histories.within(block))
            asked = fitted(workspace, name, variant, own)
            cases = replace(cases, histories=cases.histories.within(block))
        rank = evaluate(asked, cases, part="validation").rank
        values = case_metrics(rank, cases.relevant.indptr, (10,))[METRIC]
        found.append(pl.DataFrame({"target": target, "user": cases.users, METRIC: values}))
    return pl.concat(found)


def paired(
    labels: list[str], one: pl.DataFrame, other: pl.DataFrame, draws: Bootstrap
) -> tuple[list[str], float]:
    """A row of the table, and its p-value: `one` has the part, `other` has not."""
    assert one["user"].equals(other["user"])
    a, b = one[METRIC].to_numpy(), other[METRIC].to_numpy()
    gap = draws.difference(a, b)
    means = [f"{a.mean():.4f}", f"{b.mean():.4f}"]
    return [*labels, *means, f"{gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"], gap.p_value


def report(title: str, head: list[str], rows: list[tuple[list[str], float]]) -> str:
    adjusted = holm([p for _, p in rows])
    cells = [[*row, f"{p:.3f}"] for (row, _), p in zip(rows, adjusted, strict=True)]
    columns = ["with", "without", "difference of NDCG@10", "p (Holm)"]
    return f"### {title}\n\n" + table([*head, *columns], cells)


def parts(folder: Path, name: str, resamples: int) -> str:
    """The table of one candidate, from what is finished."""
    rows = []
    for split in SPLITS[name]:
        if not (folder / name / split / f"{FULL}.parquet").exists():
            continue
        full = pl.read_parquet(folder / name / split / f"{FULL}.parquet")
        draws = {
            target: Bootstrap(len(own), resamples, 0.95, 0)
            for (target,), own in full.group_by("target", maintain_order=True)
        }
        for (part, variant), target in product(VARIANTS[name].items(), draws):
            path = folder / name / split / f"{part}.parquet"
            if part == FULL or not path.exists():
                continue
            pair = [t.filter(pl.col("target") == target) for t in (full, pl.read_parquet(path))]
            one, other = reversed(pair) if variant.added else pair
            rows.append(paired([part, split, target], one, other, draws[target]))
    return report(name, ["part", "split", "target"], rows) if rows else ""


def blend(workspace: Workspace, resamples: int) -> str:
    """The blend against the member that is best on the same people; "" before the evaluation.

    On validation the blend answers for each third of the people with weights from the others.
    """
    path, blending = workspace.reports / "evaluation" / "per_user.parquet", workspace.params.blend
    if not path.exists() or blending is None:
        return ""
    judged = pl.read_parquet(path).filter(pl.col("part") == "validation")
    members = blending.members or workspace.params.candidates
    rows = []
    for (split, target), own in judged.group_by("split", "target", maintain_order=True):
        by_name = {n: own.filter(pl.col("candidate") == n) for n in (*members, BLEND)}
        best = max(members, key=lambda n: by_name[n][METRIC].to_numpy().mean())
        draws = Bootstrap(len(by_name[BLEND]), resamples, 0.95, 0)
        rows.append(paired([best, str(split), str(target)], by_name[BLEND], by_name[best], draws))
    return report("The blend against its best member", ["best member", "split", "target"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="where finished variants are kept")
    parser.add_argument("--only", choices=VARIANTS, help="run this candidate alone")
    parser.add_argument("--parts", nargs="*", help="run these variants alone")
    parser.add_argument("--resamples", type=int, default=5000)
    options = parser.parse_args()
    workspace = Workspace.open(options.workspace)
    for name, variants in VARIANTS.items():
        for split, part in product(SPLITS[name], variants):
            path = options.out / name / split / f"{part}.parquet"
            unwanted = options.only not in (None, name)
            unwanted |= options.parts is not None and part not in options.parts
            if unwanted or path.exists():
                continue
            found = judge(workspace, name, variants[part], split)
            with atomic_file(path) as temporary:
                found.write_parquet(temporary)
    print("\n".join(filter(None, [
        *(parts(options.out, name, options.resamples) for name in VARIANTS),
        blend(workspace, options.resamples),
    ])))  # fmt: skip


if __name__ == "__main__":
    main()
