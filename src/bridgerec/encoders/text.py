"""Texts to unit vectors with any transformers encoder.

Fast on a processor: texts of similar length share a batch, and bfloat16 autocast is used where
the processor has instructions for it (never by timing, so that a run repeats).
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridgerec.config import Encoder
from bridgerec.encoders.cache import EmbeddingCache
from bridgerec.encoders.weights import locate, weights_hash

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]
SHARD = 2048  # texts between two writes to the cache


def item_texts(items: pl.DataFrame, fields: Sequence[str], max_characters: int) -> list[str]:
    """One text per item: its non-empty fields, joined by ". " and cut; "" where all are empty."""
    columns = [items[f].fill_null("").str.strip_chars().to_list() for f in fields]
    rows = zip(*columns, strict=True)
    return [". ".join(part for part in row if part)[:max_characters] for row in rows]


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 natively (avx512_bf16 or amx_bf16)."""
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


class TextEncoder:
    """A pretrained model, loaded on first use.

    Raises (on first use):
        ConfigError: the model cannot be found.
        ArtifactError: its weights are not the expected ones.
    """

    def __init__(self, config: Encoder) -> None:
        import torch

        self.config = config
        self.folder = locate(config)
        self.weights = weights_hash(config, self.folder)
        cuda = torch.cuda.is_available()
        self.device = config.device if config.device != "auto" else "cuda" if cuda else "cpu"
        self.precision = config.precision
        if config.precision == "auto":
            fast = torch.cuda.is_bf16_supported() if self.device == "cuda" else has_bfloat16()
            self.precision = "bfloat16" if fast else "float32"
        self._model: Any = None
        self._tokenizer: Any = None

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same text could get another vector."""
        c = self.config
        parts = [self.weights, c.pooling, c.prefix, str(c.max_length), self.precision]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _load(self) -> None:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        self._tokenizer = AutoTokenizer.from_pretrained(self.folder)
        if self._tokenizer.pad_token is None:  # decoders have none
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._tokenizer.padding_side = "right"
        self._model = AutoModel.from_pretrained(self.folder).eval().to(self.device)

    def encode(
        self, texts: Sequence[str], cache: EmbeddingCache | None = None, progress: bool = False
    ) -> Floats:
        """Unit vectors, shape (len(texts), size), float32; an empty text gives a zero vector.

        Distinct texts are computed once; with a cache only those that it lacks, written every
        few thousand texts, so that a killed run goes on where it was.
        """
        distinct = sorted({t for t in texts if t})
        known = cache.get(distinct) if cache else {}
        missing = [t for t in distinct if t not in known]
        if missing:
            for part, vectors in self._compute(missing, progress):
                known.update(zip(part, vectors, strict=True))
                if cache:
                    cache.add(part, vectors)
        size = len(next(iter(known.values()))) if known else 0
        result = np.zeros((len(texts), size), dtype=np.float32)
        for i, text in enumerate(texts):
            if text:
                result[i] = known[text]
        return result

    def _compute(self, texts: list[str], progress: bool) -> Iterator[tuple[list[str], Floats]]:
        """Vectors of texts, longest first, shard by shard."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Left

        if self._model is None:
            self._load()
        tokens = self._tokenizer(
            [self.config.prefix + t for t in texts],
            truncation=True,
            max_length=self.config.max_length,
        )["input_ids"]
        order = sorted(range(len(texts)), key=lambda i: (-len(tokens[i]), texts[i]))
        columns = (
            TextColumn("  embedding"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} texts/s"),
            Left(),
        )
        with Progress(*columns, console=Console(stderr=True), disable=not progress) as bar:
            task = bar.add_task("embedding", total=len(texts), rate="–")
            for start in range(0, len(order), SHARD):
                shard = order[start : start + SHARD]
                pieces = []
                for vectors in self._forward([tokens[i] for i in shard]):
                    pieces.append(vectors)
                    speed = bar.tasks[task].speed
                    bar.update(task, advance=len(vectors), rate=f"{speed:,.0f}" if speed else "–")
                yield [texts[i] for i in shard], np.concatenate(pieces)

    def _forward(self, tokens: list[list[int]]) -> Iterator[Floats]:
        """Unit vectors, batch by batch; neighbours should have similar lengths."""
        import torch

        size, bf16 = self.config.batch_size, self.precision == "bfloat16"
        for start in range(0, len(tokens), size):
            batch = tokens[start : start + size]
            ids = np.full(
                (len(batch), max(map(len, batch))), self._tokenizer.pad_token_id, dtype=np.int64
            )
            mask = np.zeros_like(ids)
            for row, own in enumerate(batch):
                ids[row, : len(own)] = own
                mask[row, : len(own)] = 1
            inputs = torch.from_numpy(ids).to(self.device), torch.from_numpy(mask).to(self.device)
            with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=bf16):
                hidden = self._model(input_ids=inputs[0], attention_mask=inputs[1])[0]
            pooled = pool(hidden.float(), inputs[1], self.config.pooling)
            unit = torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()
            yield np.asarray(unit, dtype=np.float32)


def pool(hidden: "torch.Tensor", mask: "torch.Tensor", pooling: str) -> "torch.Tensor":
    """(batch, length, size) with right padding to (batch, size): mean, first or last token."""
    import torch

    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        return hidden[torch.arange(len(hidden)), mask.sum(1) - 1]
    weight = mask[..., None].to(hidden.dtype)
    return (hidden * weight).sum(1) / weight.sum(1)
