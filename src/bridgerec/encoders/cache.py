"""Vectors on disk, found by the content of their text (of an image: the hash of its file).

Append-only shards of safetensors, each written under a temporary name and renamed: a killed run
loses at most the shard it was computing.  A damaged shard is set aside and computed again.
"""

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bridgerec.runtime import atomic_file

Floats = NDArray[np.float32]


def text_key(text: str) -> bytes:
    """32 bytes that stand for the text."""
    return hashlib.sha256(text.encode()).digest()


class EmbeddingCache:
    """The shards of one encoder (`fingerprint`) under `folder`."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder / fingerprint[:32]
        self._vectors: dict[bytes, Floats] | None = None

    def _read(self) -> dict[bytes, Floats]:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        found: dict[bytes, Floats] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                shard = load_file(path)
                keys, vectors = shard["keys"], shard["vectors"]
                if len(keys) != len(vectors) or shard["check"].tobytes() != _check(keys, vectors):
                    raise ValueError("its checksum does not fit")
            except (SafetensorError, KeyError, ValueError, OSError) as error:
                warnings.warn(
                    f"{path} is damaged ({error}); set aside, what it held is computed again",
                    stacklevel=2,
                )
                path.rename(path.with_suffix(".damaged"))
                continue
            for key, vector in zip(keys, vectors, strict=True):
                found[key.tobytes()] = vector
        return found

    @property
    def vectors(self) -> dict[bytes, Floats]:
        if self._vectors is None:
            self._vectors = self._read()
        return self._vectors

    def get(self, texts: Sequence[str]) -> dict[str, Floats]:
        """The vectors of those texts that are known."""
        keys = ((text, text_key(text)) for text in texts)
        return {text: self.vectors[key] for text, key in keys if key in self.vectors}

    def add(self, texts: Sequence[str], vectors: Floats) -> None:
        """Store one shard; its name is the hash of its keys, so a repeat overwrites itself."""
        from safetensors.numpy import save_file

        found = [text_key(text) for text in texts]
        keys = np.frombuffer(b"".join(found), dtype=np.uint8).reshape(-1, 32)
        name = hashlib.sha256(keys.tobytes()).hexdigest()[:32]
        check = np.frombuffer(_check(keys, vectors), dtype=np.uint8)
        with atomic_file(self.folder / f"{name}.safetensors") as path:
            save_file({"keys": keys.copy(), "vectors": vectors, "check": check.copy()}, path)
        self.vectors.update(zip(found, vectors, strict=True))


def _check(keys: NDArray[np.uint8], vectors: Floats) -> bytes:
    return hashlib.sha256(keys.tobytes() + np.ascontiguousarray(vectors).tobytes()).digest()
