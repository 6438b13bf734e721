"""A static encoder distilled from the configured model (`embed.text.backend: static`).

Model2Vec (Tulkens & van Dongen 2024, github.com/MinishLab/model2vec): the model embeds every token
of its vocabulary on its own; the principal directions of these vectors make a table of tokens; each
row is weighted by how rare its token is, with smooth inverse frequency (Arora et al., ICLR 2017)
and a frequency guessed from the token's place in the vocabulary (Zipf), which tokenizers sort by
frequency.  A text's vector is the sum of its tokens' rows, brought to unit length: word order and
context are lost, and no transformer runs.

The table depends on nothing but the model.  It is made once, under `artifacts/cache/static`.
"""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from bridgerec.runtime import BrokenFile, atomic_folder, file_hash, read_json, write_json

if TYPE_CHECKING:
    from bridgerec.encoders.text import TextEncoder

Floats = NDArray[np.float32]
SIZE = 256  # principal directions that are kept, where the model has as many
SIF = 1e-4  # a in the weight a / (a + p(token))
UNUSED = re.compile(r"\[unused\d+\]|<unused\d+>")  # places that vocabularies keep free
METHOD = f"model2vec size={SIZE} sif={SIF} v1"  # changes whenever the table would


class StaticTable:
    """Weighted rows of tokens, (vocabulary, size); rows of special tokens are zero.

    Called with texts of one length, as token ids, it gives unit vectors (texts, size); a text of
    special or unknown tokens alone gives a zero vector.
    """

    def __init__(self, rows: Floats) -> None:
        self.rows = rows
        self._rows = torch.from_numpy(rows)

    def __call__(self, batch: list[list[int]]) -> Floats:
        with torch.inference_mode():
            ids = torch.tensor(batch, dtype=torch.int64)
            total = torch.nn.functional.embedding_bag(ids, self._rows, mode="sum")
            return np.asarray(torch.nn.functional.normalize(total, dim=1).numpy())

    def save(self, folder: Path, about: dict[str, Any]) -> None:
        """Write `table.safetensors` and `table.json`, which holds its checksum and `about`."""
        from safetensors.numpy import save_file

        with atomic_folder(folder) as temporary:
            save_file({"rows": self.rows}, temporary / "table.safetensors")
            sha256 = file_hash(temporary / "table.safetensors")
            shape = {"tokens": len(self.rows), "size": self.rows.shape[1]}
            write_json(temporary / "table.json", {**about, **shape, "sha256": sha256})

    @classmethod
    def load(cls, folder: Path) -> "StaticTable":
        """
        Raises:
            BrokenFile: a file is missing or damaged.
        """
        from safetensors.numpy import load_file

        path = folder / "table.safetensors"
        if not path.exists() or file_hash(path) != read_json(folder / "table.json").get("sha256"):
            raise BrokenFile(f"{folder} is damaged: the table does not fit its checksum.")
        return cls(load_file(path)["rows"])

    @classmethod
    def of(cls, teacher: "TextEncoder", key: str, cache: Path) -> "StaticTable":
        """The table that lies in `cache` under `key`, or a new one from `teacher`."""
        folder = cache / key[:32]
        if folder.exists():
            try:
                return cls.load(folder)
            except (BrokenFile, OSError) as error:
                warnings.warn(f"{error} It is made again.", stacklevel=2)
        table = cls(distil(teacher))
        about = {"model": teacher.config.model, "weights": teacher.weights, "method": METHOD}
        table.save(folder, about)
        return table


def distil(teacher: "TextEncoder", size: int = SIZE, sif: float = SIF) -> Floats:
    """The table of `teacher`'s tokenizer, float32, (vocabulary, at most `size`)."""
    tokenizer, vectors = teacher.loaded()
    ids = ordinary(tokenizer)
    found = alone(ids, *frame(tokenizer, teacher.config.prefix), vectors, teacher.config.batch_size)
    reduced = principal(found, size) * rarity(len(ids), sif)[:, None]
    rows = np.zeros((len(tokenizer), reduced.shape[1]), dtype=np.float32)
    rows[ids] = reduced
    return rows


def ordinary(tokenizer: Any) -> NDArray[np.int64]:
    """Ids of the tokens that texts are made of, in the order of the vocabulary."""
    names = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    special = set(tokenizer.all_special_ids)
    kept = [i for i, n in enumerate(names) if i not in special and n and not UNUSED.fullmatch(n)]
    return np.array(kept, dtype=np.int64)


def frame(tokenizer: Any, prefix: str) -> tuple[list[int], list[int]]:
    """What the model expects before and after a text: the prefix and its special tokens."""
    special = set(tokenizer.all_special_ids)
    around = tokenizer(f"{prefix}a")["input_ids"]
    place = max(i for i, token in enumerate(around) if token not in special)
    return around[:place], around[place + 1 :]


def alone(
    ids: NDArray[np.int64], before: list[int], after: list[int],
    vectors: Callable[[list[list[int]]], Floats], batch_size: int,
) -> Floats:  # fmt: skip
    """Each token's vector as a text of its own, (tokens, size of the model)."""
    texts = [[*before, token, *after] for token in ids.tolist()]
    parts = (texts[start : start + batch_size] for start in range(0, len(texts), batch_size))
    return np.concatenate([vectors(part) for part in parts])


def principal(vectors: Floats, size: int) -> Floats:
    """Centred vectors in their `size` strongest directions, strongest first."""
    centred = vectors.astype(np.float64) - vectors.mean(0, dtype=np.float64)
    _, directions = np.linalg.eigh(centred.T @ centred)
    directions = directions[:, ::-1][:, :size]
    # eigenvectors have no sign of their own: make the largest entry positive
    largest = np.abs(directions).argmax(0)
    directions = directions * np.sign(directions[largest, np.arange(len(largest))])
    return (centred @ directions).astype(np.float32)


def rarity(tokens: int, sif: float) -> Floats:
    """Weights a / (a + p) of tokens sorted by frequency, p falling as one over the rank."""
    inverse = 1 / np.arange(2, tokens + 2)
    return (sif / (sif + inverse / inverse.sum())).astype(np.float32)
