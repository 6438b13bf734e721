"""Texts per second: BridgeRec's encoder against a plain transformers loop, in the same run.

    python benchmarks/embedding.py TABLE [N]

TABLE is a catalogue (CSV, JSONL or Parquet) with `title` and, if there are any, `category`,
`brand` and `description`.  Both see the same N texts in the same order; the plain loop is what
the model's card shows: batches of 64 in the given order, float32, mean pooling.  The limit is the
time of the model's dense matrix products alone, at the same precision and without any padding.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch
from transformers import AutoModel, AutoTokenizer

from bridgerec.config import Encoder
from bridgerec.data.readers.tables import scan_table
from bridgerec.encoders.text import TextEncoder, item_texts

FIELDS = ("title", "category", "brand", "description")


def plain(folder: Path, texts: list[str], max_length: int) -> np.ndarray:
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    found = []
    with torch.inference_mode():
        for start in range(0, len(texts), 64):
            inputs = tokenizer(
                texts[start : start + 64],
                padding=True,
                truncation=True,
                max_length=max_length,
                return_tensors="pt",
            )
            mask = inputs["attention_mask"][..., None]
            hidden = model(**inputs).last_hidden_state
            mean = (hidden * mask).sum(1) / mask.sum(1)
            found.append(torch.nn.functional.normalize(mean, dim=1).numpy())
    return np.concatenate(found)


def limit(model: torch.nn.Module, tokens: int, precision: str) -> float:
    """Seconds for the dense layers' products over so many tokens, measured on 2,048 of them."""
    kind, rows, seconds = getattr(torch, precision), 2048, 0.0
    with torch.inference_mode():
        for layer in model.modules():
            if isinstance(layer, torch.nn.Linear):
                weight = layer.weight.to(kind)
                inputs = torch.randn(rows, layer.in_features).to(kind)
                times = []
                for _ in range(5):
                    began = time.perf_counter()
                    torch.nn.functional.linear(inputs, weight)
                    times.append(time.perf_counter() - began)
                seconds += float(np.median(times))
    return seconds * tokens / rows


def main() -> None:
    table = scan_table(Path(sys.argv[1])).collect()
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 6000
    items = table.with_columns(pl.lit("").alias(f) for f in FIELDS if f not in table.columns)
    texts = sorted({t for t in item_texts(items, FIELDS, 512) if t})
    texts = np.random.default_rng(0).permutation(texts)[:n].tolist()
    encoder = TextEncoder(Encoder())
    encoder.encode(texts[:64])  # loading is not measured
    began = time.perf_counter()
    own = encoder.encode(texts)
    middle = time.perf_counter()
    other = plain(encoder.folder, texts, 96)
    end = time.perf_counter()
    encoded = encoder._tokenizer(texts, truncation=True, max_length=96)["input_ids"]
    tokens = sum(map(len, encoded))
    least = limit(encoder._model.encoder, tokens, encoder.precision)
    similar = float((own * other).sum(1).min())
    print(f"{len(texts):,} texts of {tokens / len(texts):.1f} tokens on average")
    print(f"{torch.get_num_threads()} threads, {encoder.precision}")
    print(f"BridgeRec {len(texts) / (middle - began):7,.0f} texts/s")
    print(f"plain     {len(texts) / (end - middle):7,.0f} texts/s")
    print(f"limit     {len(texts) / least:7,.0f} texts/s")
    print(f"lowest cosine between the two: {similar:.4f}")


if __name__ == "__main__":
    main()
