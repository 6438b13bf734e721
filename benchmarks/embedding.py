"""Texts per second: BridgeRec's encoder against a plain transformers loop, in the same run.

    python benchmarks/embedding.py TABLE [N]

TABLE is a catalogue (CSV, JSONL or Parquet) with `title` and, if there are any, `category`,
`brand` and `description`.  Both see the same N texts in the same order; the plain loop is what
the model's card shows: batches of 64 in the given order, float32, mean pooling.  "sorted, autocast"
is the same loop over texts sorted by length under torch's bfloat16 autocast, which is how the
target of 900 was measured elsewhere (912, plain 198).  The limit is the time of the model's dense
matrix products alone, at the same precision and without any padding.
`precision: int8` is measured where the processor has it, OpenVINO where it is installed;
"HF's layers" is the same with transformers' own forward pass between the dense layers.

The second column is of use where other work shares the machine: texts per second of processor
time, times the number of threads.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import torch
from transformers import AutoModel, AutoTokenizer

from bridgerec.config import Encoder
from bridgerec.data.readers.tables import scan_table
from bridgerec.encoders.processor import has_int8
from bridgerec.encoders.text import TextEncoder, item_texts
from bridgerec.runtime import keep_memory

FIELDS = ("title", "category", "brand", "description")


def autocast(folder: Path, texts: list[str], max_length: int) -> np.ndarray:
    order = np.argsort([len(text) for text in texts], kind="stable")
    with torch.autocast("cpu", torch.bfloat16):
        return plain(folder, [texts[i] for i in order], max_length)[np.argsort(order)]


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
            found.append(torch.nn.functional.normalize(mean, dim=1).float().numpy())
    return np.concatenate(found)


def limit(model: torch.nn.Module, tokens: int, precision: str) -> tuple[float, float]:
    """Seconds, and seconds of processor time, for the dense layers' products over so many tokens,
    measured on 2,048 of them."""
    kind, rows, seconds = getattr(torch, precision), 2048, np.zeros(2)
    product = torch._int_mm if kind is torch.int8 else torch.mm
    with torch.inference_mode():
        for layer in model.modules():
            if isinstance(layer, torch.nn.Linear):
                weight = (100 * layer.weight).to(kind).T
                inputs = (30 * torch.randn(rows, layer.in_features)).to(kind)
                times = []
                for _ in range(5):
                    began = clocks()
                    product(inputs, weight)
                    times.append(clocks() - began)
                seconds += np.median(times, axis=0)
    wall, processor = seconds * tokens / rows
    return float(wall), float(processor)


def clocks() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


def timed(work: Callable[[], np.ndarray]) -> tuple[np.ndarray, tuple[float, float]]:
    began = clocks()
    found = work()
    wall, processor = clocks() - began
    return found, (float(wall), float(processor))


def main() -> None:
    keep_memory()  # as the embed stage does
    table = scan_table(Path(sys.argv[1])).collect()
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 6000
    items = table.with_columns(pl.lit("").alias(f) for f in FIELDS if f not in table.columns)
    texts = sorted({t for t in item_texts(items, FIELDS, 512) if t})
    texts = np.random.default_rng(0).permutation(texts)[:n].tolist()
    encoder = TextEncoder(Encoder(device="cpu"))
    own = {"BridgeRec": encoder}
    if has_int8():
        own["int8"] = TextEncoder(Encoder(device="cpu", precision="int8"))
    if find_spec("openvino"):
        own["OpenVINO"] = TextEncoder(Encoder(backend="openvino"))
    results = {}
    for name, each in own.items():
        each.encode(texts[:64])  # loading is not measured
        results[name] = timed(lambda each=each: each.encode(texts))
        if each.config.backend == "torch":
            lean, each._hidden = each._hidden, each._transformers
            results[f"{name}, HF's layers"] = timed(lambda each=each: each.encode(texts))
            each._hidden = lean
    results["sorted, autocast"] = timed(lambda: autocast(encoder.folder, texts, 96))
    results["plain"] = timed(lambda: plain(encoder.folder, texts, 96))
    encoded = encoder._tokenizer(texts, truncation=True, max_length=96)["input_ids"]
    tokens = sum(map(len, encoded))
    limits = {"limit": limit(encoder._model.encoder, tokens, encoder.precision)}
    if has_int8():
        limits["limit, 8 bits"] = limit(own["int8"]._model.encoder, tokens, "int8")
    threads = torch.get_num_threads()
    print(f"{len(texts):,} texts of {tokens / len(texts):.1f} tokens on average")
    print(f"{threads} threads, {encoder.precision}")
    print(f"{'':22s} texts/s  by processor time")
    seconds = {name: times for name, (_, times) in results.items()} | limits
    for name, (wall, processor) in seconds.items():
        print(f"{name:22s} {len(texts) / wall:7,.0f} {len(texts) / processor * threads:8,.0f}")
    for name in own:
        cosine = (results[name][0] * results["plain"][0]).sum(1)
        print(f"cosine of {name} and plain: mean {cosine.mean():.5f}, least {cosine.min():.5f}")


if __name__ == "__main__":
    main()
