"""What faiss keeps of item vectors: all of them in half precision, or in inverted lists."""

from pathlib import Path
from typing import Any

import numpy as np

from bridgerec.errors import ArtifactError
from bridgerec.serving.topk import Floats

LISTS, PROBED = 2048, 32  # inverted lists, and how many are looked into


def padded(rows: Floats, more: Floats) -> Floats:
    """Both side by side, with zeros up to a multiple of 8 columns: faiss is slow at others."""
    width = rows.shape[1] + more.shape[1]
    found = np.zeros((len(rows), -(-width // 8) * 8), dtype=np.float32)
    found[:, : rows.shape[1]], found[:, rows.shape[1] : width] = rows, more
    return found


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
    """An inverted file of 8-bit codes over `keys` (n, d); takes about a minute for a million."""
    import faiss

    lists = max(1, min(lists, len(keys) // 40))
    found: Any = faiss.index_factory(keys.shape[1], f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
    found.cp.seed = seed
    sample = np.random.default_rng(seed).permutation(len(keys))[: 64 * lists]
    found.train(keys[np.sort(sample)])
    found.add(keys)
    found.nprobe = PROBED
    return found


def read_inverted(path: Path, shape: tuple[int, ...]) -> Any:
    """
    Raises:
        ArtifactError: the file is of another catalogue.
    """
    import faiss

    found = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    if found.ntotal != shape[0]:
        raise ArtifactError(
            f"{path} holds {found.ntotal} items, the model {shape[0]}. Package the release again."
        )
    faiss.extract_index_ivf(found).nprobe = PROBED
    return found
