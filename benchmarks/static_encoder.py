"""The static encoder against the transformer that it is distilled from.

    python benchmarks/static_encoder.py WORKSPACE [MODEL] [SPLIT ...]

Prints Markdown: texts per second of wall and of processor time (the transformer on 500 texts of
the catalogue, the table on all; loading and distilling are not counted), then validation NDCG@10 of
MODEL (default ease_text) trained on the vectors of either, on each SPLIT (default leave_last and
temporal), and the difference, paired over people, with its 95 % bootstrap interval.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import sys
import time
from dataclasses import replace

import numpy as np
import torch

from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue, Split
from bridgerec.encoders.cache import EmbeddingCache
from bridgerec.encoders.text import TextEncoder, item_texts
from bridgerec.encoders.whitening import Whitening
from bridgerec.evaluation.metrics import case_metrics
from bridgerec.evaluation.protocol import evaluate
from bridgerec.evaluation.significance import Bootstrap
from bridgerec.models.base import build
from bridgerec.pipeline.embed import learnable

NAMES = {"torch": "transformer", "static": "static"}


def item_vectors(workspace: Workspace, catalogue: Catalogue, backend: str) -> np.ndarray:
    """Whitened vectors of all items, as the embed stage makes them; prints the encoder's speed."""
    config = workspace.params.embed
    text = config.text.model_copy(update={"backend": backend})
    encoder = TextEncoder(text, workspace.root)
    texts = item_texts(catalogue.items, config.fields, config.max_characters)
    sample = np.random.default_rng(0).permutation(sorted({t for t in texts if t})).tolist()
    sample = sample if backend == "static" else sample[:500]
    encoder.encode(sample[:64])
    clocks = time.perf_counter(), time.process_time()
    encoder.encode(sample)
    wall, processor = time.perf_counter() - clocks[0], time.process_time() - clocks[1]
    raw = encoder.encode(texts, EmbeddingCache(workspace.embedding_cache, encoder.fingerprint))
    print(
        f"| {NAMES[backend]} | {raw.shape[1]} | {len(sample):,} | {len(sample) / wall:,.0f} "
        f"| {len(sample) / processor * torch.get_num_threads():,.0f} |",
        flush=True,
    )
    usable = learnable(workspace, catalogue)[0] & np.any(raw != 0, axis=1)
    domain = catalogue.domain_of(np.arange(len(catalogue)))
    return Whitening.fit(
        raw[usable], domain[usable], config.whitening_size, config.whitening_epsilon,
        config.whitening, config.domain_means,
    ).apply(raw, domain)  # fmt: skip


def main() -> None:
    workspace = Workspace.open(sys.argv[1])
    name = sys.argv[2] if len(sys.argv) > 2 else "ease_text"
    splits = sys.argv[3:] or ["leave_last", "temporal"]
    catalogue, params = Catalogue.read(workspace.prepared / "items.parquet"), workspace.params
    print("| encoder | size | texts | texts/s | texts/s by processor time, times the threads |")
    print("| --- | --- | --- | --- | --- |")
    vectors = {backend: item_vectors(workspace, catalogue, backend) for backend in NAMES}
    print("\n| split | target | people | transformer | static | difference |")
    print("| --- | --- | --- | --- | --- | --- |")
    for split in (Split.read(workspace.prepared, s, catalogue) for s in splits):
        found: dict[tuple[str, str], np.ndarray] = {}
        for backend in NAMES:
            model = build(name, params.models[name], params.seed)
            model.train(replace(split.training(), vectors=vectors[backend]))
            for target in split.targets:
                cases = split.cases("validation", target)
                rank = evaluate(model, cases, part="validation").rank
                ndcg = case_metrics(rank, cases.relevant.indptr, (10,))["ndcg@10"]
                found[backend, target] = ndcg
                if backend == "torch":
                    continue
                other = found["torch", target]
                bootstrap = Bootstrap(len(ndcg), 1000, 0.95, params.seed)
                gap = bootstrap.difference(ndcg, other)
                print(
                    f"| {split.name} | {target} | {len(ndcg):,} | {other.mean():.4f} "
                    f"| {ndcg.mean():.4f} | {gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}] |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
