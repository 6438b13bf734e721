"""What faiss keeps of item vectors: all of them in half precision, or in inverted lists."""

from pathlib import Path
from typing import Any

import numpy as np

from bridgerec.errors import ArtifactError
from bridgerec.serving.topk import Floats

LISTS = 2048  # inverted lists
PROBED = 64  # of them are looked into where nobody is known by whom to choose (see probes)
LOUD = 3.0  # times as much as in a score, extras count in which list an item belongs to
CODES = 256  # at most so many codes of 4 bits per item: 128 bytes


def padded(rows: Floats, more: Floats) -> Floats:
    """Both side by side, with zeros up to a multiple of 8 columns: faiss is slow at others."""
    width = rows.shape[1] + more.shape[1]
    found = np.zeros((len(rows), -(-width // 8) * 8), dtype=np.float32)
    found[:, : rows.shape[1]], found[:, rows.shape[1] : width] = rows, more
    return found


def sought(queries: Floats, weights: Floats) -> Floats:
    """Questions to an inverted file: their products with `listed` items are the scores."""
    return padded(queries, weights / np.float32(LOUD))


def listed(vectors: Floats, extras: Floats) -> Floats:
    """Items for an inverted file.  Vectors are of one length, so it is the extras that make one
    item of a list better than the next whoever asks: lists of items that are alike in them, too,
    are better told apart by their centres."""
    return padded(vectors, np.float32(LOUD) * extras)


def half(keys: Floats) -> tuple[Any, float]:
    """A half-precision index of `keys` (n, d), and the largest distance it moved one by."""
    import faiss

    moved = 0.0
    for start in range(0, len(keys), 8192):  # in pieces: nothing as large as the keys is made
        part = keys[start : start + 8192]
        rounded = part.astype(np.float16).astype(np.float32)
        moved = max(moved, float(np.sqrt(((part - rounded) ** 2).sum(axis=1).max())))
    found = faiss.IndexScalarQuantizer(
        keys.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    found.add(keys)
    return found, moved * (1 + 1e-3)


def inverted(keys: Floats, lists: int = LISTS, seed: int = 0) -> Any:
    """An inverted file over `keys` (n, d), d a multiple of 8, that holds 4 bits for each number
    (for two or more where there are more than `CODES`) of what sets an item apart from its list's
    centre; takes half a minute of the processor for a million items of 128 numbers.

    Sums of such codes are read off tables in registers (Andre et al., "Quicker ADC", 2018), a
    fifth of the time that 8 bits per number take, in a third of the memory; they are coarse, so
    that more has to be scored again.
    """
    import faiss

    lists, width = max(1, min(lists, len(keys) // 40)), keys.shape[1]
    codes = width  # with one for two numbers lists of 128 were too coarse for a recall of .98
    while codes > CODES and codes % 2 == 0:
        codes //= 2
    found: Any = faiss.index_factory(
        width, f"IVF{lists},PQ{codes}x4fsr", faiss.METRIC_INNER_PRODUCT
    )
    found.cp.seed = found.pq.cp.seed = seed
    sample = np.random.default_rng(seed).permutation(len(keys))[: 64 * lists]
    found.train(keys[np.sort(sample)])
    found.add(keys)
    found.nprobe = min(PROBED, lists)
    return found


def read_inverted(path: Path, shape: tuple[int, ...]) -> Any:
    """With the number of lists to look into that it was written with.

    Raises:
        ArtifactError: the file is of another catalogue, or of an older release's kind.
    """
    import faiss

    found = faiss.read_index(str(path))
    again = "Package the release again."
    if not isinstance(found, faiss.IndexIVFPQFastScan):
        raise ArtifactError(f"{path} is an index of an older kind. {again}")
    if found.ntotal != shape[0]:
        raise ArtifactError(f"{path} holds {found.ntotal} items, the model {shape[0]}. {again}")
    return found
