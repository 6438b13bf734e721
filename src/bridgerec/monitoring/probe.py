"""A fixed set of texts whose vectors are kept, to notice when the encoder changes.

The texts with the smallest hashes are taken, so that the set hardly changes as a catalogue grows.
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridgerec.config import Workspace
from bridgerec.encoders.cache import text_key
from bridgerec.encoders.text import item_texts
from bridgerec.runtime import atomic_file

SIZE = 500
Floats = NDArray[np.floating[Any]]


def take(workspace: Workspace, items: pl.DataFrame, vectors: Floats) -> dict[bytes, Floats]:
    """Vectors (size,) by the hash of the text as it is embedded now."""
    config = workspace.params.embed
    absent = [pl.lit("").alias(f) for f in config.fields if f not in items.columns]
    texts = item_texts(items.with_columns(absent), config.fields, config.max_characters)
    keys = {text_key(text): i for i, text in enumerate(texts) if text}
    return {key: vectors[keys[key]] for key in sorted(keys)[:SIZE]}


def read(path: Path) -> dict[bytes, Floats]:
    """The vectors of an earlier run; none if there was no run, or its file is damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found = load_file(path)
        pairs = zip(found["keys"], found["vectors"], strict=True)
        return {key.tobytes(): vector for key, vector in pairs}
    except (OSError, SafetensorError, KeyError, ValueError):
        return {}


def write(path: Path, probe: dict[bytes, Floats]) -> None:
    """Keep the vectors in half precision."""
    from safetensors.numpy import save_file

    if not probe:
        return
    keys = np.frombuffer(b"".join(probe), dtype=np.uint8).reshape(-1, 32)
    vectors = np.stack(list(probe.values())).astype(np.float16)
    with atomic_file(path) as temporary:
        save_file({"keys": keys.copy(), "vectors": vectors}, temporary)


def common(old: dict[bytes, Floats], new: dict[bytes, Floats]) -> tuple[Floats, Floats] | None:
    """Vectors (n, d) and (n, e) of the texts in both; None without any."""
    keys = [key for key in old if key in new]
    if not keys:
        return None
    return (
        np.stack([old[k] for k in keys]).astype(np.float32),
        np.stack([new[k] for k in keys]).astype(np.float32),
    )
