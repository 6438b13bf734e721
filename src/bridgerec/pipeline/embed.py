"""The embed stage: a vector per item, whitened on training items."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue, Split
from bridgerec.runtime import atomic_folder, read_json, write_json

if TYPE_CHECKING:
    from bridgerec.encoders.whitening import Whitening

Floats = NDArray[np.float32]


def embed(workspace: Workspace, say: Callable[[str], None]) -> None:
    """Write `artifacts/vectors`: `vectors.safetensors` (n_items, size), the whitening, a card."""
    from safetensors.numpy import save_file

    from bridgerec.encoders.cache import EmbeddingCache
    from bridgerec.encoders.text import TextEncoder, item_texts

    config = workspace.params.embed
    catalogue = Catalogue.read(workspace.prepared / "items.parquet")
    texts = item_texts(catalogue.items, config.fields, config.max_characters)
    encoder = TextEncoder(config.text, workspace.root)
    cache = EmbeddingCache(workspace.embedding_cache, encoder.fingerprint)
    raw = encoder.encode(texts, cache, progress=True)
    vectors, whitening, fitted_on = whitened(workspace, catalogue, raw)
    say(f"{len(vectors):,} vectors of size {vectors.shape[1]}, {encoder.precision}")
    with atomic_folder(workspace.vectors) as folder:
        save_file({"vectors": vectors}, folder / "vectors.safetensors")
        whitening.save(folder / "whitening.safetensors")
        write_json(
            folder / "encoder.json",
            {
                "model": config.text.model,
                "pooling": config.text.pooling,
                "precision": encoder.precision,
                "fingerprint": encoder.fingerprint,
                "size": int(vectors.shape[1]),
                "items_without_text": int((~np.any(raw != 0, axis=1)).sum()),
                "fitted_on_items": fitted_on,
            },
        )


def whitened(
    workspace: Workspace, catalogue: Catalogue, raw: Floats
) -> tuple[Floats, "Whitening", int]:
    """Item vectors (n_items, size), the whitening that made them of the encoder's `raw` ones, and
    the number of items that it was fitted on.

    The whitening sees only items with a training row in every split, so nothing that is held
    out anywhere shapes the space.
    """
    from bridgerec.encoders.whitening import Whitening

    config = workspace.params.embed
    usable = np.any(raw != 0, axis=1)
    for name in read_json(workspace.prepared / "splits.json"):
        usable &= Split.read(workspace.prepared, name, catalogue).training().seen
    domain = catalogue.domain_of(np.arange(len(catalogue)))
    whitening = Whitening.fit(
        raw[usable], domain[usable], config.whitening_size, config.whitening_epsilon,
        config.whitening, config.domain_means,
    )  # fmt: skip
    return whitening.apply(raw, domain), whitening, int(usable.sum())
