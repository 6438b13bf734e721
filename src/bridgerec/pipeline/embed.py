"""The embed stage: a vector per item, whitened on training items."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.config import Embed, Workspace
from bridgerec.data.dataset import Catalogue, Split
from bridgerec.runtime import atomic_folder, read_json, write_json

if TYPE_CHECKING:
    from bridgerec.encoders.image import Found, ImageEncoder

Ints = NDArray[np.int64]


def learnable(
    workspace: Workspace, catalogue: Catalogue
) -> tuple[NDArray[np.bool_], tuple[Ints, Ints]]:
    """What is training in every split: the items (n_items,), and the rows as (person, item),
    sorted by person and time."""
    seen = np.ones(len(catalogue), dtype=bool)
    shared: Ints | None = None
    for name in read_json(workspace.prepared / "splits.json"):
        training = Split.read(workspace.prepared, name, catalogue).training()
        seen &= training.seen
        person = training.users[training.histories.rows]
        key = person * len(catalogue) + training.histories.items
        shared = key if shared is None else shared[np.isin(shared, key)]
    keys = np.zeros(0, dtype=np.int64) if shared is None else shared
    return seen, (keys // len(catalogue), keys % len(catalogue))


def embed(workspace: Workspace, say: Callable[[str], None]) -> None:
    """Write `artifacts/vectors`: `vectors.safetensors` (n_items, size), the whitening, a card, and
    with `embed.image` the same of images.

    The whitening sees only items with a training row in every split, and `embed.finetune` only
    such rows, so nothing that is held out anywhere shapes the space.
    """
    from safetensors.numpy import save_file

    from bridgerec.encoders.cache import EmbeddingCache
    from bridgerec.encoders.text import TextEncoder, item_texts
    from bridgerec.encoders.whitening import Whitening

    config = workspace.params.embed
    catalogue = Catalogue.read(workspace.prepared / "items.parquet")
    texts = item_texts(catalogue.items, config.fields, config.max_characters)
    encoder = TextEncoder(config.text, workspace.root)
    cache = EmbeddingCache(workspace.embedding_cache, encoder.fingerprint)
    domain = catalogue.domain_of(np.arange(len(catalogue)))
    usable, rows = learnable(workspace, catalogue)
    report = None
    if config.finetune:
        from bridgerec.training.finetune import finetune

        report = finetune(
            encoder, texts, rows, domain, config.finetune, workspace.finetuned, cache, say
        )
        if model := report.pop("model"):
            report["folder"] = Path(model).relative_to(workspace.root).as_posix()  # to be packaged
            tuned = config.text.model_copy(update={"model": model, "sha256": None})
            encoder = TextEncoder(tuned, workspace.root)
            cache = EmbeddingCache(workspace.embedding_cache, encoder.fingerprint)
    raw = encoder.encode(texts, cache, progress=True)
    pictures = _look(workspace, catalogue, say) if config.image else None
    learnt = usable
    usable = learnt & np.any(raw != 0, axis=1)
    whitening = Whitening.fit(
        raw[usable], domain[usable], config.whitening_size, config.whitening_epsilon,
        config.whitening, config.domain_means,
    )  # fmt: skip
    vectors = whitening.apply(raw, domain)
    say(f"{len(vectors):,} vectors of size {vectors.shape[1]}, {encoder.precision}")
    with atomic_folder(workspace.vectors) as folder:
        save_file({"vectors": vectors}, folder / "vectors.safetensors")
        whitening.save(folder / "whitening.safetensors")
        card = _write_images(folder, *pictures, domain, learnt, config) if pictures else None
        write_json(
            folder / "encoder.json",
            {
                "model": config.text.model,
                "pooling": config.text.pooling,
                "precision": encoder.precision,
                "fingerprint": encoder.fingerprint,
                **({"finetune": report} if report else {}),
                **({"image": card} if card else {}),
                "size": int(vectors.shape[1]),
                "items_without_text": int((~np.any(raw != 0, axis=1)).sum()),
                "fitted_on_items": int(usable.sum()),
            },
        )


def _look(
    workspace: Workspace, catalogue: Catalogue, say: Callable[[str], None]
) -> tuple["ImageEncoder", "Found"]:
    """Embed the images that the catalogue names."""
    from bridgerec.data.images import image_files
    from bridgerec.encoders.cache import EmbeddingCache
    from bridgerec.encoders.image import ImageEncoder

    config = workspace.params.embed.image
    assert config is not None
    encoder = ImageEncoder(config, workspace.root)
    cache = EmbeddingCache(workspace.embedding_cache, encoder.fingerprint)
    found = encoder.encode(image_files(workspace, catalogue), cache, progress=True)
    say(f"{int(found.present.sum()):,} images of {len(catalogue):,} items, {config.model}")
    if found.unreadable:
        some = ", ".join(str(path) for path in found.unreadable[:3])
        say(
            f"warning: {len(found.unreadable):,} of {found.named:,} images are missing or cannot "
            f"be read and count as none: {some}{', …' if len(found.unreadable) > 3 else ''}"
        )
    return encoder, found


def _write_images(
    folder: Path,
    encoder: "ImageEncoder",
    found: "Found",
    domain: Ints,
    learnt: NDArray[np.bool_],
    config: Embed,
) -> dict[str, Any]:
    """Write `images.safetensors`: `image` (n_items, size) and `image_present` (n_items,), whitened
    as texts are, and return the card.  Where no item has an image, nothing is written."""
    from safetensors.numpy import save_file

    from bridgerec.encoders.whitening import Whitening

    assert config.image is not None
    usable, size = learnt & found.present, 0
    if usable.any():
        whitening = Whitening.fit(
            found.vectors[usable], domain[usable], None, config.whitening_epsilon,
            config.whitening, config.domain_means,
        )  # fmt: skip
        image = whitening.apply(found.vectors, domain)
        size = image.shape[1]
        save_file({"image": image, "image_present": found.present}, folder / "images.safetensors")
        whitening.save(folder / "image_whitening.safetensors")
    return {
        "model": config.image.model,
        "fingerprint": encoder.fingerprint,
        "size": size,
        "items_with_image": int(found.present.sum()),
        "items_without_image": int((~found.present).sum()) - len(found.unreadable),
        "unreadable": len(found.unreadable),
        "fitted_on_items": int(usable.sum()),
    }
