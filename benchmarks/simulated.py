"""A small simulated world with the demo's parameters, prepared and embedded."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue, Split
from bridgerec.data.prepare import prepare
from bridgerec.data.simulate import simulate
from bridgerec.encoders.cache import EmbeddingCache
from bridgerec.encoders.text import TextEncoder, item_texts
from bridgerec.encoders.whitening import Whitening

PARAMS = Path(__file__).parents[1] / "params.yaml"
SEED = 100  # of a world that no setting was chosen on


def world(
    root: Path,
    seed: int,
    people: int,
    items: int,
    change: Callable[[Path], None] = lambda _: None,
    cache: Path | None = None,
) -> tuple[Split, np.ndarray]:
    """The temporal split, and the item vectors.  `change` is called with the simulated tables'
    root before they are prepared; `cache` is a folder for vectors of texts."""
    simulate(root, seed=seed, users=people, items=items)
    change(root)
    params = yaml.safe_load(PARAMS.read_text())
    params["split"]["protocols"] = ["temporal"]
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    workspace = Workspace.open(root)
    prepare(workspace)
    catalogue = Catalogue.read(workspace.prepared / "items.parquet")
    split = Split.read(workspace.prepared, "temporal", catalogue)
    config = workspace.params.embed
    encoder = TextEncoder(config.text)
    texts = item_texts(catalogue.items, config.fields, config.max_characters)
    raw = encoder.encode(texts, EmbeddingCache(cache, encoder.fingerprint) if cache else None)
    domain, seen = catalogue.domain_of(np.arange(len(catalogue))), split.training().seen
    whitening = Whitening.fit(raw[seen], domain[seen], None, config.whitening_epsilon)
    return split, whitening.apply(raw, domain)
