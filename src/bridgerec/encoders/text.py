"""Texts to unit vectors with any transformers encoder.

Fast on a processor: nothing is padded, because only texts of the same number of tokens share a
batch; BERT's layers write over what nobody reads again (encoders/bert.py); and bfloat16 autocast is
used where the processor has instructions for it (never by timing, so that a run repeats).  Dense
layers can compute in 8 bits (encoders/int8.py).  OpenVINO can take PyTorch's place (`backend`), or
a table of tokens the model's (encoders/static.py).

On a processor a text's vector is the same to the last bit whichever texts are embedded with it,
so a cache that grew over months equals a fresh one (measured for bfloat16, float32
and int8; a test holds it).  A GPU's libraries may choose other kernels for other batch sizes: there
the last bits can differ.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridgerec.config import Encoder
from bridgerec.encoders.cache import EmbeddingCache
from bridgerec.encoders.processor import has_bfloat16, side_by_side
from bridgerec.encoders.weights import locate, settings_hash, weights_hash
from bridgerec.errors import ArtifactError, ConfigError
from bridgerec.progress import bar

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]
SHARD = 8192  # texts between two writes to the cache
AT_ONCE = 256  # texts that are tokenized together
LEAST_TOKENS = 32  # smaller float32 products run through kernels that round in another order


def item_texts(items: pl.DataFrame, fields: Sequence[str], max_characters: int) -> list[str]:
    """One text per item: its non-empty fields, joined by ". " and cut; "" where all are empty."""
    columns = [items[f].fill_null("").str.strip_chars().to_list() for f in fields]
    rows = zip(*columns, strict=True)
    return [". ".join(part for part in row if part)[:max_characters] for row in rows]


def load_model(folder: Path, tokenizer_only: bool = False) -> tuple[Any, Any]:
    """The tokenizer and the model (or None) of a folder, in float32 whatever the checkpoint holds.

    Raises:
        ArtifactError: transformers cannot load them.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        if tokenizer_only:
            return tokenizer, None
        # autocast makes bfloat16 of it
        return tokenizer, AutoModel.from_pretrained(folder, dtype=torch.float32)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise ArtifactError(
            f"transformers cannot load the model in {folder}: {error}. Install it again, "
            "or name another under embed.text.model."
        ) from error


class TextEncoder:
    """A pretrained model, loaded on first use; `root` is where its relative folder starts, and
    where the `static` backend keeps its table (`artifacts/cache/static`).

    Raises:
        ConfigError: the model cannot be found, or there is no such device or precision.
        ArtifactError: its weights are not the expected ones, or (on first use) cannot be loaded.
    """

    def __init__(self, config: Encoder, root: Path = Path()) -> None:
        import torch

        if config.backend == "openvino":
            from bridgerec.encoders.openvino import require_openvino

            require_openvino()
        on_processor = config.backend == "openvino" or config.precision == "int8"
        cuda = torch.cuda.is_available() and not on_processor
        if config.device == "cuda" and not cuda:
            raise ConfigError(
                "embed.text.device is cuda, but PyTorch finds no CUDA device on this machine. "
                "Write auto or cpu, or install a PyTorch built for CUDA and its driver."
            )
        self.config = config
        self.root = root
        self.folder = locate(config, root)
        self.weights = weights_hash(config, self.folder)
        self.settings = settings_hash(self.folder)
        self.device = config.device if config.device != "auto" else "cuda" if cuda else "cpu"
        self.precision = config.precision
        if config.precision == "auto":
            fast = torch.cuda.is_bf16_supported() if self.device == "cuda" else has_bfloat16()
            self.precision = "bfloat16" if fast else "float32"
        self._model: Any = None
        self._hidden: Callable[[torch.Tensor], torch.Tensor] = self._transformers
        self._tokenizer: Any = None
        self._most_tokens: int | None = None  # of a batch
        self._vectors: Callable[[list[list[int]]], Floats] = self._torch_vectors

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same text could get another vector, by the model's files, the
        settings, the kind of device, or the versions of the libraries that compute."""
        c = self.config
        if c.backend == "static":
            from bridgerec.encoders.static import METHOD

            return hashlib.sha256(f"{METHOD}\0{self._teacher().fingerprint}".encode()).hexdigest()
        more = ("openvino",) if c.backend == "openvino" else ()
        method = []
        if self.precision == "int8":
            from bridgerec.encoders import int8

            method.append(int8.METHOD)
        parts = [
            *(self.weights, self.settings, c.pooling, c.prefix, str(c.max_length)),
            *(str(c.batch_size), self.precision, self.device, *method),
            *(version(library) for library in ("torch", "transformers", "tokenizers", *more)),
        ]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _teacher(self) -> "TextEncoder":
        """The model itself, whose tokens `static` is made of."""
        return TextEncoder(self.config.model_copy(update={"backend": "torch"}), self.root)

    def _static(self) -> Callable[[list[list[int]]], Floats]:
        from bridgerec.encoders.static import StaticTable

        cache = self.root / "artifacts" / "cache" / "static"
        return StaticTable.of(self._teacher(), self.fingerprint, cache)

    def loaded(self) -> tuple[Any, Callable[[list[list[int]]], Floats]]:
        """The tokenizer, and unit vectors of texts of one length given as token ids."""
        if self._tokenizer is None:
            self._load()
        return self._tokenizer, self._vectors

    def _load(self) -> None:
        static = self.config.backend == "static"
        tokenizer, model = load_model(self.folder, tokenizer_only=static)
        if static:
            self._vectors = self._static()
        else:
            self._prepare(model)
        self._tokenizer = tokenizer

    def _prepare(self, model: Any) -> None:
        self._model = model.eval().to(self.device)
        if self.config.backend == "openvino":
            from bridgerec.encoders.openvino import Compiled

            pooling = partial(pool, pooling=self.config.pooling)
            self._vectors = Compiled(model, pooling, self.precision, self.config.max_length)
        elif self.precision == "bfloat16":
            from bridgerec.encoders.packed import round_dense

            round_dense(model)
        elif self.precision == "int8":
            from bridgerec.encoders.int8 import MOST_TOKENS, quantise_dense

            quantise_dense(model)
            self._most_tokens = MOST_TOKENS
        if self.config.backend == "torch" and self.device == "cpu":
            from bridgerec.encoders.bert import lean_forward

            with self._computing():
                self._hidden = lean_forward(model) or self._transformers

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
        tokenizer, _ = self.loaded()
        # a static table knows the prefix already: its tokens were embedded behind it
        prefix = "" if self.config.backend == "static" else self.config.prefix
        tokens: list[list[int]] = []
        # a few at a time: thousands of the tokenizer's records at once would have Python look
        # through all its objects for garbage, as long as the tokenizing takes
        for start in range(0, len(texts), AT_ONCE):
            tokens += tokenizer(
                [prefix + t for t in texts[start : start + AT_ONCE]],
                truncation=True,
                max_length=self.config.max_length,
                return_attention_mask=False,
                return_token_type_ids=False,
            )["input_ids"]
        order = sorted(range(len(texts)), key=lambda i: (-len(tokens[i]), texts[i]))
        with bar("embedding", len(texts), "texts", shown=progress) as advance:
            for start in range(0, len(order), SHARD):
                shard = order[start : start + SHARD]
                pieces = []
                for vectors in self._forward([tokens[i] for i in shard]):
                    pieces.append(vectors)
                    advance(len(vectors))
                yield [texts[i] for i in shard], np.concatenate(pieces)

    def _forward(self, tokens: list[list[int]]) -> Iterator[Floats]:
        """Unit vectors, batch by batch; each batch is a run of texts of the same length."""
        batches = list(_runs(tokens, self.config.batch_size, self._most_tokens))
        # the other backends use all cores for one batch
        alone = self.config.backend != "torch" or self.device != "cpu" or len(batches) == 1
        yield from (map if alone else side_by_side)(self._vectors, batches)

    def _torch_vectors(self, batch: list[list[int]]) -> Floats:
        import torch

        filled = batch * -(-LEAST_TOKENS // (len(batch) * len(batch[0])))
        ids = torch.tensor(filled, device=self.device)
        with self._computing():
            hidden = self._hidden(ids)
        pooled = pool(hidden[: len(batch)].float(), self.config.pooling)
        unit = torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()
        return np.asarray(unit, dtype=np.float32)

    def _transformers(self, ids: "torch.Tensor") -> "torch.Tensor":
        """Last hidden states (batch, length, size) of any model."""
        import torch

        hidden: torch.Tensor = self._model(input_ids=ids, attention_mask=torch.ones_like(ids))[0]
        return hidden

    @contextmanager
    def _computing(self) -> Iterator[None]:
        import torch

        bf16 = self.precision == "bfloat16"
        with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=bf16):
            yield


def _runs(tokens: list[list[int]], size: int, most: int | None) -> Iterator[list[list[int]]]:
    """Neighbours with the same number of tokens, at most `size` and (of more than one text) at most
    `most` tokens at a time."""
    for length, group in groupby(tokens, key=len):
        texts = list(group)
        step = min(size, max(most // length, 1)) if most else size
        yield from (texts[start : start + step] for start in range(0, len(texts), step))


def pool(hidden: "torch.Tensor", pooling: str) -> "torch.Tensor":
    """(batch, length, size) without padding to (batch, size): mean, first or last token."""
    if pooling == "cls":
        return hidden[:, 0]
    return hidden[:, -1] if pooling == "last" else hidden.mean(1)
