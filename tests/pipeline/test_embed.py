"""The embed stage with pictures, from a table's column to what models get."""

import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image

from bridgerec.config import Workspace
from bridgerec.data.prepare import prepare
from bridgerec.data.vectors import read_images, read_vectors
from bridgerec.errors import ArtifactError
from bridgerec.pipeline.embed import embed
from bridgerec.pipeline.train import train
from bridgerec.runtime import file_hash, read_json
from helpers import small_params

pytestmark = pytest.mark.slow
MODELS = {
    "popularity": {"use": "bridgerec.models.popularity:Popularity"},
    "two_tower": {"use": "bridgerec.models.two_tower:TwoTower", "epochs": 1, "embedding_size": 16},
}


@pytest.fixture
def pictured(small_workspace: Workspace) -> Workspace:
    """Pictures of the left domain's items: 20 files, one that is none, one that is not there."""
    folder = small_workspace.root / "data" / "left"
    (folder / "shots").mkdir()
    images = [f"shots/{n}.png" if n < 22 else "" for n in range(30)]
    for number in range(20):
        colour = [0, 0, 0]
        colour[number % 3] = 160 + number
        Image.new("RGB", (20, 20), tuple(colour)).save(folder / images[number])
    (folder / images[20]).write_text("no picture")
    items = pl.read_csv(folder / "items.csv").with_columns(pl.Series("image", images))
    items.with_columns(pl.lit("9.50").alias("price")).write_csv(folder / "items.csv")
    params = small_params(
        embed={"image": {"model": "colour"}}, models=MODELS, candidates=list(MODELS)
    )
    (small_workspace.root / "params.yaml").write_text(yaml.safe_dump(params))
    return small_workspace


def test_vectors_of_images_beside_those_of_texts(pictured: Workspace) -> None:
    prepare(pictured)
    items = pl.read_parquet(pictured.prepared / "items.parquet")
    assert items["price"].to_list() == [9.5] * 30 + [None] * 30
    said: list[str] = []
    embed(pictured, said.append)
    (warning,) = [line for line in said if line.startswith("warning")]
    assert "2 of 22 images are missing or cannot be read" in warning
    assert "data/left/shots/20.png" in warning
    images = read_images(pictured, 60)
    assert images is not None
    np.testing.assert_array_equal(np.flatnonzero(images.present), np.arange(20))
    lengths = np.linalg.norm(images.vectors, axis=1)
    np.testing.assert_allclose(lengths, images.present, atol=1e-5)
    alike = images.vectors @ images.vectors.T
    assert alike[0, 3] > 0.5 > alike[0, 1]
    card = read_json(pictured.vectors / "encoder.json")["image"]
    assert (card["items_with_image"], card["items_without_image"], card["unreadable"]) == (
        20, 38, 2,
    )  # fmt: skip
    before = file_hash(pictured.vectors)
    embed(pictured, said.append)  # now from the cache
    assert file_hash(pictured.vectors) == before
    train(pictured, "two_tower", said.append)
    with pytest.raises(ArtifactError, match="has 60 vectors for 61 items"):
        read_images(pictured, 61)


def test_texts_have_the_same_vectors_with_images_and_without(pictured: Workspace) -> None:
    prepare(pictured)
    embed(pictured, lambda _: None)
    expected = read_vectors(pictured, 60)
    for name in ("left", "right"):  # no item has a picture
        path = pictured.root / "data" / name / "items.csv"
        items = pl.read_csv(path)
        items.drop("image", strict=False).write_csv(path)
    prepare(pictured)
    embed(pictured, lambda _: None)
    assert read_images(pictured, 60) is None
    assert read_json(pictured.vectors / "encoder.json")["image"]["items_with_image"] == 0
    np.testing.assert_array_equal(read_vectors(pictured, 60), expected)
    params = yaml.safe_load((pictured.root / "params.yaml").read_text())
    params["embed"]["image"] = None
    (pictured.root / "params.yaml").write_text(yaml.safe_dump(params))
    embed(pictured, lambda _: None)
    assert "image" not in read_json(pictured.vectors / "encoder.json")
    np.testing.assert_array_equal(read_vectors(pictured, 60), expected)
