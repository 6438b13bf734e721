"""A bundle of any size to serve: a TwoTower trained on simulated people, and what belongs to it."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors.numpy import load_file, save_file

from bridgerec.config import Encoder, Service
from bridgerec.data.dataset import Catalogue, Histories, Training
from bridgerec.encoders.whitening import Whitening
from bridgerec.models.popularity import Popularity
from bridgerec.models.two_tower import TwoTower, TwoTowerConfig
from bridgerec.registry.bundle import PARTS
from bridgerec.runtime import file_hash, write_json

SIZE = 128
ENCODED = 384  # numbers of the default encoder
CLUSTERS = 512
DAYS = 200


def item_vectors(n: int, real: Path | None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (n, 128) and the cluster of each.

    With `real` (a `vectors.safetensors` of the embed stage) drawn from a mixture that is fitted to
    them: k-means clusters, each with its own size, centre and covariance.  Without it from a
    mixture whose spread falls along the directions as that of language-model vectors does.
    """
    rng = np.random.default_rng(seed)
    if real is None:
        falling = np.arange(1, SIZE + 1) ** -0.5
        centres = rng.standard_normal((CLUSTERS, SIZE)) * falling
        cluster = rng.choice(CLUSTERS, n, p=rng.dirichlet(np.ones(CLUSTERS)))
        found = centres[cluster] + 0.7 * rng.standard_normal((n, SIZE)) * falling
    else:
        known = load_file(real)["vectors"].astype(np.float32)
        known = known - known.mean(0)
        known = known @ np.linalg.svd(known, full_matrices=False)[2][:SIZE].T
        found, cluster, _ = grown(known, n, rng, seed)
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
    return found.astype(np.float32), cluster


def grown(
    known: np.ndarray, n: int, rng: np.random.Generator, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """n vectors (n, d) of a mixture that is fitted to the `known` ones: k-means clusters, each with
    its own size, centre and covariance; also the cluster, and the known one nearest in the making,
    of each."""
    import faiss

    clusters = min(CLUSTERS, len(known) // 40)
    means = faiss.Kmeans(known.shape[1], clusters, niter=10, seed=seed + 1)
    means.train(known)
    own = means.index.search(known, 1)[1][:, 0]
    cluster = own[rng.integers(len(known), size=n)]
    found, donor = np.empty((n, known.shape[1]), dtype=np.float32), np.empty(n, dtype=np.int64)
    for c in range(clusters):
        rows, mine = np.flatnonzero(own == c), np.flatnonzero(cluster == c)
        if not len(rows):
            continue
        mean = known[rows].mean(0)
        # a point between two members of a cluster, spread as they are
        pair = rng.integers(len(rows), size=(2, len(mine)))
        noise = rng.standard_normal((len(mine), 1))
        donor[mine] = rows[pair[0]]
        found[mine] = mean + (known[donor[mine]] - mean) * 0.9
        found[mine] += 0.4 * noise * (known[rows[pair[1]]] - mean)
    return found, cluster, donor


def world(n: int, people: int, real: Path | None, seed: int = 0) -> Training:
    """Two domains of n and n / 10 items; people with some tastes (clusters), 8 to 40 rows each."""
    vectors, cluster = item_vectors(n + n // 10, real, seed)
    rng = np.random.default_rng(seed + 7)
    total = len(vectors)
    number = np.arange(total)
    items = pl.DataFrame(
        {
            "domain": np.where(number < n, "shop", "video"),
            "item_id": [f"I{i:07d}" for i in range(total)],
            "title": [f"Item {i} of group {c}" for i, c in enumerate(cluster.tolist())],
            "category": [f"group {c}" for c in cluster.tolist()],
            "brand": [f"brand {i % 997}" for i in range(total)],
        }
    )
    order = np.argsort(cluster, kind="stable")
    start = np.searchsorted(cluster[order], np.arange(cluster.max() + 2))
    filled = np.flatnonzero(np.diff(start))
    taste = rng.choice(filled, (people, 3))
    lengths = rng.integers(8, 41, people)
    rows = np.repeat(np.arange(people), lengths)
    which = taste[rows, rng.integers(3, size=len(rows))]
    # the first of a cluster are the popular ones
    within = (rng.random(len(rows)) ** 2.5 * np.diff(start)[which]).astype(np.int64)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    time = 1_700_000_000 + rng.integers(DAYS * 86_400, size=len(rows))
    time = time[np.lexsort((time, rows))]
    chosen = order[start[which] + within].astype(np.int32)
    weights = np.ones(len(rows), dtype=np.float32)
    histories = Histories(indptr, chosen, weights, time)
    return Training(Catalogue(items), np.arange(people), histories, vectors)


def write(folder: Path, training: Training, epochs: int = 1) -> None:
    """Train on the world and put everything that the service reads into `folder`."""
    catalogue, histories = training.catalogue, training.histories
    towers = TwoTower(TwoTowerConfig(epochs=epochs, learning_rate=0.003), seed=1)
    popularity = Popularity()
    for name, model in (("two_tower", towers), ("popularity", popularity)):
        model.train(training)
        model.save(folder / "models" / name)
    catalogue.items.write_parquet(folder / "catalogue.parquet")
    users = [f"U{i:06d}" for i in range(len(histories))]
    pl.DataFrame({"user_id": users}).write_parquet(folder / "users.parquet")
    nobody: dict[str, list[str]] = {"domain": [], "account_id": [], "user_id": []}
    pl.DataFrame(nobody, schema=dict.fromkeys(nobody, pl.String)).write_parquet(
        folder / "accounts.parquet"
    )
    stored = {name: getattr(histories, name) for name in ("indptr", "items", "weights")}
    save_file({**stored, "timestamp": histories.timestamp}, folder / "histories.safetensors")
    assert training.vectors is not None
    save_file({"vectors": training.vectors.astype(np.float16)}, folder / "vectors.safetensors")
    write_words(folder, catalogue)
    seal(folder)


def write_words(folder: Path, catalogue: Catalogue) -> None:
    """What embeds words: the default encoder, turned into the size of these vectors.  They are of
    no meaning in the simulated items' space, which costs as much as if they were."""
    turned = np.linalg.qr(np.random.default_rng(1).standard_normal((ENCODED, SIZE)))[0]
    means = np.zeros((len(catalogue.domains), ENCODED), dtype=np.float32)
    Whitening(means, turned.astype(np.float32)).save(folder / "whitening.safetensors")
    record = {
        "encoder": Encoder().model_dump(mode="json"),
        "fields": ["title"],
        "max_characters": 200,
        "domains": list(catalogue.domains),
        "size": SIZE,
        "space": "benchmark",
    }
    write_json(folder / "encoder.json", record)


def seal(folder: Path) -> None:
    """The manifest and the dossier."""
    routes = {"warm": "two_tower", "cold_start": "two_tower", "unknown": "popularity"}
    routes["fallback"] = "popularity"
    hashes: dict[str, Any] = {p: file_hash(folder / p) for p in PARTS if (folder / p).exists()}
    write_json(folder / "dossier.json", {"release": "benchmark"})
    write_json(
        folder / "manifest.json",
        {
            "release": "benchmark",
            "sha256": hashes,
            "service": Service().model_dump(mode="json"),
            "champion": {"routes": routes},
        },
    )
