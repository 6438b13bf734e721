"""NDCG@10 for people new to a domain, against how many people were known in both.

    python benchmarks/overlap.py DATA OUT [--candidates popularity,emcdr,...] [--shares 0,0.05,...]

DATA holds `interactions.parquet` (user_id, item_id, position, domain, split) and `items.parquet`;
people whose split is `test` or `valid` are held out.  A share of the other people with rows in two
domains stays linked (a seeded draw); the rest are taken apart into two people each, so that rows
and popularity stay the same and only the link is lost.  Everybody held out is asked, at each share,
for all their items of one domain from all their items of the other.

Options are those of `bridgerec init`, but `two_tower` and `sequence` have fewer epochs, and
`sequence` is one small copy.  `text` learns nothing: the mean of a history's vectors against the
items', which needs no overlap.  `text_popularity` and `blend` (of all others) mix what the others
left in OUT, with weights learned from the people of `valid`, who are known in both domains; so they
come after the others.  What is finished in OUT is not run again; prints Markdown, writes
overlap.svg.
"""

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from bridgerec.config import Embed, Model
from bridgerec.data.dataset import Cases, Catalogue, Histories, Training, group_rows
from bridgerec.encoders.cache import EmbeddingCache
from bridgerec.encoders.text import TextEncoder, item_texts
from bridgerec.encoders.whitening import Whitening
from bridgerec.evaluation.metrics import case_metrics
from bridgerec.evaluation.protocol import evaluate
from bridgerec.evaluation.significance import Bootstrap, holm
from bridgerec.models.base import Arrays, Candidate, build, load
from bridgerec.models.blend import Blend, BlendConfig
from bridgerec.models.sparse import matrix
from stages import kept, table

TEMPLATE = Path(__file__).parent.parent / "src" / "bridgerec" / "templates" / "params.yaml"
LEARNED = "item_knn,sequential_rules,ials,ease_text,emcdr,ptupcdr,profile,two_tower,sequence"
DEFAULT = f"popularity,text,text_popularity,{LEARNED},blend"
BLENDS = {
    "text_popularity": ["popularity", "text"],
    "blend": ["popularity", "text", *LEARNED.split(",")],
}
# these people are many: so they still give more steps than those of `docs/benchmarks.md`
CHANGED: dict[str, dict[str, Any]] = {
    "two_tower": {"epochs": 2},
    "sequence": {"embedding_size": 64, "epochs": 3},
}
SEED, RESAMPLES = 42, 1000

Cells = dict[tuple[str, float], dict[str, Any]]


class Text(Candidate):
    """score = mean of the history's vectors · the item's vector."""

    uses_vectors = True

    def fit(self, training: Training) -> None:
        assert training.vectors is not None
        self.vectors = training.vectors

    def score(self, histories: Histories, target: str) -> np.ndarray:
        people = matrix(histories, self.n_items) @ self.vectors
        length = np.maximum(np.linalg.norm(people, axis=1, keepdims=True), 1e-9)
        found: np.ndarray = (people / length) @ self.vectors[self.block(target)].T
        return found.astype(np.float32)

    def arrays(self) -> Arrays:
        return {"vectors": self.vectors}

    def restore(self, arrays: Arrays) -> None:
        self.vectors = arrays["vectors"]


def untrained(name: str) -> Candidate:
    """A candidate as `bridgerec init` sets it up, but for `CHANGED`; `sequence` is one copy."""
    if name == "text":
        return Text()
    entry = yaml.safe_load(TEMPLATE.read_text())["models"][name]
    if name == "sequence":
        entry = {"use": entry["of"]}
    return build(name, Model(**{**entry, **CHANGED.get(name, {})}), SEED)


def trained(name: str, training: Training, out: Path, valid: list[Cases]) -> Candidate:
    """A candidate, kept in `out` for the blends, or the blend of those that are kept there.

    Raises:
        ArtifactError: a member is missing.
    """
    if name in BLENDS:
        members = {n: load(out / n) for n in BLENDS[name] if n != "text"}
        members["text"] = Text()
        members["text"].train(training)
        blend = Blend(BlendConfig(), SEED)
        blend.learn(members, training, valid)
        return blend
    candidate = untrained(name)
    candidate.train(training)
    if name != "text":
        candidate.save(out / name)
    return candidate


def read(data: Path) -> tuple[Catalogue, pl.DataFrame]:
    """The catalogue, and the rows with item numbers in order of person and position."""
    items = pl.read_parquet(data / "items.parquet").sort("domain", maintain_order=True)
    catalogue = Catalogue(items)
    numbered = items.select("domain", "item_id").with_row_index("item")
    rows = pl.read_parquet(data / "interactions.parquet")
    rows = rows.join(numbered, on=["domain", "item_id"]).sort("user_id", "position", "domain")
    return catalogue, rows.unique(["user_id", "item"], keep="first", maintain_order=True)


def histories(rows: pl.DataFrame, person: str) -> tuple[list[str], Histories]:
    """One row per person, oldest first."""
    rows = rows.sort(person, "position", "domain")
    names, number = np.unique(rows[person].to_numpy(), return_inverse=True)
    item = rows["item"].to_numpy().astype(np.int32)
    found = group_rows(number, item, np.ones(len(item), dtype=np.float32))[1]
    return names.tolist(), found


def vectors(catalogue: Catalogue, seen: np.ndarray, out: Path) -> np.ndarray:
    config = Embed()
    encoder = TextEncoder(config.text, out)
    texts = item_texts(catalogue.items, config.fields, config.max_characters)
    raw = encoder.encode(texts, EmbeddingCache(out / "cache", encoder.fingerprint), progress=True)
    domain = catalogue.domain_of(np.arange(len(catalogue)))
    usable = seen & np.any(raw != 0, axis=1)
    whitening = Whitening.fit(raw[usable], domain[usable], None, config.whitening_epsilon)
    return whitening.apply(raw, domain)


def linked(rows: pl.DataFrame, share: float) -> pl.DataFrame:
    """Training rows with a column `person`: the account, but for those who are taken apart."""
    both = (
        rows.filter(pl.col("split") == "train_overlap")["user_id"]
        .unique()
        .sort()
        .to_numpy()
        .astype(str)
    )
    order = np.random.default_rng(SEED).permutation(len(both))
    apart = both[order[round(share * len(both)) :]].tolist()
    other = pl.col("user_id") + "@" + pl.col("domain")
    person = pl.when(pl.col("user_id").is_in(apart)).then(other)
    train = rows.filter(pl.col("split").is_in(["test", "valid"]).not_())
    return train.with_columns(person=person.otherwise(pl.col("user_id")))


def questions(catalogue: Catalogue, rows: pl.DataFrame, target: str, part: str) -> Cases:
    held_out = rows.filter(pl.col("split") == part)
    _, everything = histories(held_out, "user_id")
    block = catalogue.block(target)
    past, relevant = everything.outside(block), everything.within(block)
    asked = np.flatnonzero((past.lengths > 0) & (relevant.lengths > 0))
    return Cases(target, asked, past.take(asked), relevant.take(asked))


def picture(results: dict[str, dict[float, float]], shares: list[float], title: str) -> str:
    """Lines of each candidate over the shares, as SVG."""
    colours = (
        "#4269d0",
        "#efb118",
        "#ff725c",
        "#6cc5b0",
        "#3ca951",
        "#a463f2",
        "#97bbf5",
        "#9c6b4e",
        "#9498a0",
        "#ff8ab7",
        "#1b1e23",
        "#c2185b",
        "#7a8450",
    )
    top = 1.1 * max(v for per in results.values() for v in per.values())
    x = {s: 60 + 420 * i / max(len(shares) - 1, 1) for i, s in enumerate(shares)}
    parts = [f'<text x="60" y="20" font-weight="bold">{title}</text>']
    for tick in np.linspace(0, top, 5):
        y = 300 - 260 * tick / top
        parts.append(f'<line x1="60" x2="480" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="52" y="{y + 4:.1f}" text-anchor="end">{tick:.3f}</text>')
    for s in shares:
        parts.append(f'<text x="{x[s]:.0f}" y="320" text-anchor="middle">{s:.0%}</text>')
    for number, (name, per) in enumerate(results.items()):
        colour = colours[number % len(colours)]
        line = " ".join(f"{x[s]:.1f},{300 - 260 * v / top:.1f}" for s, v in per.items())
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="490" y="{50 + 18 * number}" fill="{colour}">{name}</text>')
    return "\n".join(parts)


def cell(
    name: str, training: Training, out: Path, valid: list[Cases], asked: dict[str, Cases]
) -> dict[str, Any]:
    """Processor seconds of training, and per target NDCG@10 of everybody who is asked."""
    began = time.process_time()
    candidate = trained(name, training, out, valid)
    found: dict[str, Any] = {"seconds": round(time.process_time() - began, 1)}
    for target, cases in asked.items():
        rank = evaluate(candidate, cases).rank
        found[target] = case_metrics(rank, cases.relevant.indptr, (10,))["ndcg@10"].tolist()
    return found


def curves(cells: Cells, names: list[str], shares: list[float], target: str) -> tuple[str, str]:
    """The table of a target, and its picture; cells that were not run are left out."""
    rows, lines = [], {}
    for name in names:
        row = []
        for share in shares:
            if (name, share) not in cells:
                row.append("–")
                continue
            values = np.array(cells[name, share][target])
            boot = Bootstrap(len(values), RESAMPLES, 0.95, SEED)
            low, high = boot.intervals(values[:, None], np.ones(len(values), dtype=bool))
            row.append(f"{values.mean():.4f} [{low[0]:.4f}, {high[0]:.4f}]")
            lines.setdefault(name, {})[share] = float(values.mean())
        most = cells.get((name, shares[-1]))
        rows.append([name, *row, f"{most['seconds']:,.0f}" if most else "–"])
    head = ["candidate", *(f"{s:.0%}" for s in shares), f"seconds, {shares[-1]:.0%}"]
    return table(head, rows), picture(lines, shares, f"NDCG@10 in {target} by overlap kept")


def against_popularity(cells: Cells, names: list[str], share: float, targets: list[str]) -> str:
    """Differences paired over people, p adjusted over all of them."""
    rows, p_values = [], []
    for name in names:
        if name == "popularity" or not {(name, share), ("popularity", share)} <= cells.keys():
            continue
        for target in targets:
            own, other = (np.array(cells[n, share][target]) for n in (name, "popularity"))
            gap = Bootstrap(len(own), RESAMPLES, 0.95, SEED).difference(own, other)
            shown = f"{gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
            rows.append([name, target, f"{own.mean():.4f}", shown])
            p_values.append(gap.p_value)
    cells_of = [[*row, f"{p:.3f}"] for row, p in zip(rows, holm(p_values), strict=True)]
    return table(["candidate", "target", "NDCG@10", "against popularity", "p (Holm)"], cells_of)


def first_ten(rows: pl.DataFrame) -> pl.DataFrame:
    """The ten most met items, with their `len`."""
    return rows.group_by("item").len().sort("len", "item", descending=[True, False]).head(10)


def groups(rows: pl.DataFrame, targets: list[str]) -> str:
    """How alike those of each split are to those whom the models know, by what they met most."""
    found = []
    for target in targets:
        inside = rows.filter(pl.col("domain") == target)
        popular = first_ten(inside.filter(pl.col("split").is_in(["test", "valid"]).not_()))
        for (split,), own in sorted(inside.group_by("split")):
            top, people = first_ten(own), own["user_id"].n_unique()
            share, both = top["len"][0] / people, top["item"].is_in(popular["item"].implode()).sum()
            found.append([target, str(split), f"{people:,}", f"{share:.1%}", f"{both} of 10"])
    head = ["domain", "split", "people", "met its first item", "its first ten, popular"]
    return table(head, found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--candidates", default=DEFAULT)
    parser.add_argument("--shares", default="0,0.05,0.2,0.5,1")
    options = parser.parse_args()
    shares = [float(s) for s in options.shares.split(",")]
    catalogue, rows = read(options.data)
    seen = np.zeros(len(catalogue), dtype=bool)
    seen[linked(rows, 1)["item"].to_numpy()] = True
    whitened = vectors(catalogue, seen, options.out)
    asked = {target: questions(catalogue, rows, target, "test") for target in catalogue.domains}
    valid = [questions(catalogue, rows, target, "valid") for target in catalogue.domains]
    names = options.candidates.split(",")
    cells: Cells = {}
    for share in shares:
        people, own = histories(linked(rows, share), "person")
        training = Training(catalogue, np.arange(len(people)), own, whitened)
        for name in names:
            file = options.out / "cells" / f"{name}-{share}.json"
            folder = options.out / "models" / str(share)
            run = partial(cell, name, training, folder, valid, asked)
            cells[name, share] = kept(file, run)
    pictures = []
    for number, (target, cases) in enumerate(asked.items()):
        print(f"NDCG@10 in {target}, {len(cases):,} people new there, by share of overlap kept\n")
        text, shape = curves(cells, names, shares, target)
        print(text)
        pictures.append(f'<g transform="translate({620 * number} 0)">{shape}</g>')
    print(f"{shares[0]:.0%} of the overlap kept\n")
    print(against_popularity(cells, names, shares[0], list(asked)))
    print(groups(rows, list(asked)))
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1240 340" font-size="13"'
    body = "\n".join(pictures)
    (options.out / "overlap.svg").write_text(
        f'{head} font-family="sans-serif" style="background:#fff">\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    main()
