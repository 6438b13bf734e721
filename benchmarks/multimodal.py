"""Validation NDCG@10 of a model with and without pictures, above all for items nobody has met.

    python benchmarks/multimodal.py WORKSPACE [--models two_tower sequence] [--split temporal]

WORKSPACE is prepared, and embedded with embed.image.  Each model is trained with the option
`images` on and off, `--seeds` times each; what a person scores is the mean over the seeds.  Rows of
the table are

- all: everybody of the split's validation part;
- new: those who are asked for an item without a training row, for these items alone;
- withheld: the same after a seeded share (`--withhold`) of the targets' items was taken out of the
  training rows and out of the histories; of these the ones that have a picture count;
- withheld, no picture: the ones without a picture, whose people should lose nothing.

Ranking is over all items of the target; with "among themselves" over the items that count, so that
popular items do not stand above all of them.  Differences are paired over people, with 95 %
bootstrap intervals.  With `--shuffle` every picture is another item's, and should not help: the
control.  The whitening was fitted without regard to what is withheld, on either side.
"""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bridgerec.config import Workspace
from bridgerec.data.dataset import Cases, Catalogue, Histories, Images, Split, Training
from bridgerec.data.vectors import read_images, read_vectors
from bridgerec.errors import ArtifactError
from bridgerec.evaluation.metrics import case_metrics, ranks
from bridgerec.evaluation.protocol import evaluate
from bridgerec.evaluation.significance import Bootstrap
from bridgerec.models.base import Candidate, build
from stages import table

METRIC = "ndcg@10"
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


def withheld(training: Training, share: float, seed: int) -> tuple[Mask, Mask]:
    """Seen items that are taken away: a `share` of those with a picture, and of the others in
    domains that have pictures, (n_items,) each."""
    assert training.images is not None
    present, catalogue = training.images.present, training.catalogue
    drawn = np.random.default_rng(seed).random(len(catalogue)) < share
    drawn &= training.seen
    pictured = np.zeros(len(catalogue), dtype=bool)
    for domain in catalogue.domains:
        block = catalogue.block(domain)
        pictured[block] = present[block].any()
    return drawn & present, drawn & ~present & pictured


def shuffled(images: Images, catalogue: Catalogue, seed: int) -> Images:
    """Every picture with another item of its domain: the same numbers, but nothing to learn."""
    rng, vectors = np.random.default_rng(seed), images.vectors.copy()
    for domain in catalogue.domains:
        block = catalogue.block(domain)
        there = block.start + np.flatnonzero(images.present[block])
        vectors[there] = images.vectors[rng.permutation(there)]
    return Images(vectors, images.present)


def asked(cases: Cases, wanted: Mask, hidden: Mask) -> Cases:
    """The people with a `wanted` relevant item, these alone; `hidden` ones leave their past."""
    relevant = cases.relevant.where(wanted[cases.relevant.items])
    rows = np.flatnonzero(relevant.lengths > 0)
    past = cases.histories.where(~hidden[cases.histories.items])
    return Cases(cases.target, cases.users[rows], past.take(rows), relevant.take(rows))


def judge(models: list[Candidate], cases: Cases, among: Mask | None = None) -> Floats:
    """NDCG@10 of every person, the mean over models, (people,); `among` (n_items,) are the items
    that are ranked, if not all."""
    rank = _everywhere if among is None else partial(_among, items=among)
    found = [case_metrics(rank(m, cases), cases.relevant.indptr, (10,))[METRIC] for m in models]
    return np.mean(found, axis=0)


def _everywhere(model: Candidate, cases: Cases) -> NDArray[np.int64]:
    return evaluate(model, cases, part="validation").rank


def _among(model: Candidate, cases: Cases, items: Mask) -> NDArray[np.int64]:
    block = model.block(cases.target)
    columns = np.flatnonzero(items[block])
    places = np.searchsorted(columns, cases.relevant.items - block.start).astype(np.int32)
    scores = model.score(cases.histories, cases.target)[:, columns]
    nothing = Histories.of([[]] * len(cases))
    return ranks(scores, nothing, replace(cases.relevant, items=places))


def without(training: Training, hidden: Mask) -> Training:
    kept: Histories = training.histories.where(~hidden[training.histories.items])
    return replace(training, histories=kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--models", nargs="+", default=["two_tower", "sequence"])
    parser.add_argument("--split", default="temporal")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--withhold", type=float, default=0.25)
    parser.add_argument("--resamples", type=int, default=5000)
    parser.add_argument("--epochs", type=int, help="instead of params.yaml's")
    parser.add_argument("--groups", nargs="+", help="these rows alone")
    parser.add_argument("--shuffle", action="store_true", help="deal the pictures out anew")
    options = parser.parse_args()
    workspace = Workspace.open(options.workspace)
    params = workspace.params
    catalogue = Catalogue.read(workspace.prepared / "items.parquet")
    images = read_images(workspace, len(catalogue))
    if images is None:
        raise ArtifactError(f"{workspace.vectors} has no images; set embed.image and embed again.")
    if options.shuffle:
        images = shuffled(images, catalogue, params.seed)
    split = Split.read(workspace.prepared, options.split, catalogue)
    full = replace(split.training(), vectors=read_vectors(workspace, len(catalogue)), images=images)
    nothing = np.zeros(len(catalogue), dtype=bool)
    seen_ones, blind_ones = withheld(full, options.withhold, params.seed)
    hidden = seen_ones | blind_ones
    groups = {  # what is hidden, and which relevant items count
        "all": (nothing, ~nothing),
        "new": (nothing, ~full.seen),
        "withheld": (hidden, seen_ones),
        "withheld, no picture": (hidden, blind_ones),
    }
    groups = {
        g: pair for g, pair in groups.items() if options.groups is None or g in options.groups
    }
    epochs = {"epochs": options.epochs} if options.epochs else {}
    rows = []
    for name in options.models:
        trained: dict[bool, tuple[list[Candidate], list[Candidate]]] = {}
        for is_reduced in sorted({bool(gone.any()) for gone, _ in groups.values()}):
            training = without(full, hidden) if is_reduced else full
            pair = []
            for pictures in (True, False):
                model = params.models[name].model_copy(update={"images": pictures, **epochs})
                found = [build(name, model, params.seed + i) for i in range(options.seeds)]
                for candidate in found:
                    candidate.train(training)
                pair.append(found)
            trained[is_reduced] = (pair[0], pair[1])
        for target in split.targets:
            cases = split.cases("validation", target)
            for group, (gone, wanted) in groups.items():
                own = asked(cases, wanted, gone)
                if len(own) < 2:
                    continue
                draws = Bootstrap(len(own), options.resamples, 0.95, 0)
                for among in (None,) if group == "all" else (None, wanted):
                    one, other = (judge(m, own, among) for m in trained[bool(gone.any())])
                    gap = draws.difference(one, other)
                    label = group if among is None else f"{group}, among themselves"
                    means = [f"{one.mean():.4f}", f"{other.mean():.4f}"]
                    interval = f"{gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
                    rows.append([name, target, label, f"{len(own):,}", *means, interval])
    head = ["model", "target", "asked for", "people", "with", "without", "difference of NDCG@10"]
    print(table(head, rows))


if __name__ == "__main__":
    main()
