"""Another encoder against the workspace's: how fast, and what a model loses on its vectors.

    python benchmarks/encoder_quality.py WORKSPACE KEY=VALUE [MODEL ...] [--splits SPLIT ...]

KEY=VALUE changes `embed.text`: backend=static, precision=int8.  Prints Markdown: texts per second
of wall and of processor time (500 texts, a static table all; loading and distilling not counted),
the cosine of both encoders' vectors where they have the same size, then validation NDCG@10 of each
MODEL (default ease_text) trained on either's vectors, on each SPLIT (default leave_last and
temporal), and the difference, paired over people, with its 95 % bootstrap interval.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import time
from dataclasses import replace

import numpy as np
import torch

from bridgerec.config import Encoder, Workspace
from bridgerec.data.dataset import Catalogue, Split
from bridgerec.encoders.cache import EmbeddingCache
from bridgerec.encoders.text import TextEncoder, item_texts
from bridgerec.encoders.whitening import Whitening
from bridgerec.evaluation.metrics import case_metrics
from bridgerec.evaluation.protocol import evaluate
from bridgerec.evaluation.significance import Bootstrap
from bridgerec.models.base import build
from bridgerec.pipeline.embed import learnable


def raw_vectors(workspace: Workspace, catalogue: Catalogue, change: dict[str, str]) -> np.ndarray:
    """The vectors of all items; prints the encoder's speed."""
    config = workspace.params.embed
    text = Encoder.model_validate({**config.text.model_dump(), **change})
    encoder = TextEncoder(text, workspace.root)
    texts = item_texts(catalogue.items, config.fields, config.max_characters)
    sample = np.random.default_rng(0).permutation(sorted({t for t in texts if t})).tolist()
    sample = sample if text.backend == "static" else sample[:500]
    encoder.encode(sample[:64])
    clocks = time.perf_counter(), time.process_time()
    encoder.encode(sample)
    wall, processor = time.perf_counter() - clocks[0], time.process_time() - clocks[1]
    raw = encoder.encode(texts, EmbeddingCache(workspace.embedding_cache, encoder.fingerprint))
    print(
        f"| {text.backend}, {encoder.precision} | {raw.shape[1]} | {len(sample) / wall:,.0f} "
        f"| {len(sample) / processor * torch.get_num_threads():,.0f} |",
        flush=True,
    )
    return raw


def whitened(workspace: Workspace, catalogue: Catalogue, raw: np.ndarray) -> np.ndarray:
    """As the embed stage makes them."""
    config = workspace.params.embed
    usable = learnable(workspace, catalogue)[0] & np.any(raw != 0, axis=1)
    domain = catalogue.domain_of(np.arange(len(catalogue)))
    return Whitening.fit(
        raw[usable], domain[usable], config.whitening_size, config.whitening_epsilon,
        config.whitening, config.domain_means,
    ).apply(raw, domain)  # fmt: skip


def ndcg(
    workspace: Workspace, split: Split, name: str, vectors: np.ndarray
) -> dict[str, np.ndarray]:
    """NDCG@10 of every person, by target."""
    params = workspace.params
    model = build(name, params.models[name], params.seed)
    model.train(replace(split.training(), vectors=vectors))
    found = {}
    for target in split.targets:
        cases = split.cases("validation", target)
        rank = evaluate(model, cases, part="validation").rank
        found[target] = case_metrics(rank, cases.relevant.indptr, (10,))["ndcg@10"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("workspace")
    parser.add_argument("change", type=lambda text: dict([text.split("=", 1)]))
    parser.add_argument("models", nargs="*", default=["ease_text"])
    parser.add_argument("--splits", nargs="+", default=["leave_last", "temporal"])
    given = parser.parse_args()
    workspace = Workspace.open(given.workspace)
    catalogue = Catalogue.read(workspace.prepared / "items.parquet")
    print("| encoder | size | texts/s | texts/s by processor time, times the threads |")
    print("| --- | --- | --- | --- |")
    raw = [raw_vectors(workspace, catalogue, change) for change in ({}, given.change)]
    if raw[0].shape == raw[1].shape:
        cosine = (raw[0] * raw[1]).sum(1)[np.any(raw[0] != 0, axis=1)]
        print(f"\ncosine of their vectors: mean {cosine.mean():.4f}, least {cosine.min():.4f}")
    vectors = [whitened(workspace, catalogue, each) for each in raw]
    print("\n| model | split | target | people | first | second | difference |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for split in (Split.read(workspace.prepared, s, catalogue) for s in given.splits):
        for name in given.models:
            first, second = (ndcg(workspace, split, name, each) for each in vectors)
            for target, other in first.items():
                bootstrap = Bootstrap(len(other), 1000, 0.95, workspace.params.seed)
                gap = bootstrap.difference(second[target], other)
                print(
                    f"| {name} | {split.name} | {target} | {len(other):,} | {other.mean():.4f} "
                    f"| {second[target].mean():.4f} "
                    f"| {gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}] |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
