"""Vectors against plain transformers, the cache under faults, whitening."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bridgerec.config import Embed, Encoder
from bridgerec.encoders.cache import EmbeddingCache
from bridgerec.encoders.processor import has_int8
from bridgerec.encoders.text import TextEncoder
from bridgerec.encoders.whitening import Whitening
from bridgerec.errors import ArtifactError, ConfigError, DataError

INT8 = pytest.mark.skipif(not has_int8(), reason="this processor has no 8-bit products")
TEXTS = ["a red teapot", "一本关于茶的书", "x", "the history of green tea in old cities " * 9]


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_vectors_equal_those_of_plain_transformers(pooling: str) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    encoder = TextEncoder(Encoder(pooling=pooling, precision="float32", prefix="query: "))
    found = encoder.encode([*TEXTS, ""])
    tokenizer = AutoTokenizer.from_pretrained(encoder.folder)
    model = AutoModel.from_pretrained(encoder.folder).eval()
    for text, vector in zip(TEXTS, found, strict=False):
        inputs = tokenizer(f"query: {text}", truncation=True, max_length=96, return_tensors="pt")
        with torch.inference_mode():
            hidden = model(**inputs).last_hidden_state[0]
        place = {"mean": hidden.mean(0), "cls": hidden[0], "last": hidden[-1]}[pooling]
        plain = (place / place.norm()).numpy()
        np.testing.assert_allclose(vector, plain, atol=2e-5)
    assert not found[-1].any()


def test_only_new_texts_are_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TextEncoder(Encoder(precision="float32"))
    computed: list[str] = []
    original = TextEncoder._compute

    def counted(self: TextEncoder, texts: list[str], progress: bool):
        computed.extend(texts)
        return original(self, texts, progress)

    monkeypatch.setattr(TextEncoder, "_compute", counted)
    first = encoder.encode(TEXTS[:2], EmbeddingCache(tmp_path, encoder.fingerprint))
    again = encoder.encode(TEXTS, EmbeddingCache(tmp_path, encoder.fingerprint))
    assert sorted(computed) == sorted(TEXTS)
    np.testing.assert_array_equal(first, again[:2])
    other = TextEncoder(Encoder(precision="float32", pooling="cls"))
    assert other.fingerprint != encoder.fingerprint


def test_a_damaged_shard_is_set_aside_and_computed_again(tmp_path: Path) -> None:
    encoder = TextEncoder(Encoder(precision="float32"))
    expected = encoder.encode(TEXTS, EmbeddingCache(tmp_path, encoder.fingerprint))
    (shard,) = tmp_path.rglob("*.safetensors")
    content = bytearray(shard.read_bytes())
    content[-3] ^= 0xFF
    shard.write_bytes(content)
    with pytest.warns(UserWarning, match="damaged"):
        found = encoder.encode(TEXTS, EmbeddingCache(tmp_path, encoder.fingerprint))
    np.testing.assert_array_equal(found, expected)
    assert list(tmp_path.rglob("*.damaged"))


WRITER = """
import sys, numpy as np
from pathlib import Path
from bridgerec.encoders.cache import EmbeddingCache
cache = EmbeddingCache(Path(sys.argv[1]), "f")
for i in range(100000):
    cache.add([f"text {i}"], np.full((1, 384), i, dtype=np.float32))
    print(i, flush=True)
"""


def test_a_kill_in_the_middle_leaves_only_whole_shards(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(30):
        process.stdout.readline()
    time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    found = EmbeddingCache(tmp_path, "f").get([f"text {i}" for i in range(30)])
    assert len(found) == 30
    assert all(v[0] == int(t.split()[1]) for t, v in found.items())


def test_wrong_weights_and_unknown_models_are_refused() -> None:
    with pytest.raises(ArtifactError, match="sha256"):
        TextEncoder(Encoder(sha256="0" * 64))
    with pytest.raises(ConfigError, match="not installed"):
        TextEncoder(Encoder(model="package:no_such_package"))
    with pytest.raises(ConfigError, match="does not exist"):
        TextEncoder(Encoder(model="/no/such/folder"))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("package:json", "holds no weights"),
        ("package:no.such", "not installed"),
        ("package:", "not installed"),
    ],
)
def test_packages_without_weights_are_refused(model: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TextEncoder(Encoder(model=model))


def test_cuda_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"embed\.text\.device is cuda"):
        TextEncoder(Encoder(device="cuda"))


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the default model, in float16, in a workspace."""
    import torch
    from transformers import AutoModel

    folder = tmp_path_factory.mktemp("workspace") / "model"
    source = TextEncoder(Encoder()).folder
    AutoModel.from_pretrained(source, dtype=torch.float16).save_pretrained(folder)
    for path in source.glob("*.*"):
        if path.suffix in (".json", ".txt") and path.name != "config.json":
            shutil.copy(path, folder)
    return folder


def test_a_relative_folder_starts_at_the_workspace(model_folder: Path) -> None:
    config = Encoder(model=model_folder.name)
    assert TextEncoder(config, model_folder.parent).folder == model_folder
    with pytest.raises(ConfigError):
        TextEncoder(Encoder(model=f"./{model_folder.name}"), model_folder)


def test_float32_is_float32_whatever_the_checkpoint_holds(model_folder: Path) -> None:
    import torch

    encoder = TextEncoder(Encoder(model=str(model_folder), precision="float32"))
    encoder.encode(TEXTS)
    assert {p.dtype for p in encoder._model.parameters()} == {torch.float32}


def test_the_fingerprint_knows_all_that_shapes_a_vector(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "model")

    def found(**changes: object) -> str:
        config = {"model": str(folder), "precision": "float32", "device": "cpu", **changes}
        return TextEncoder(Encoder.model_validate(config)).fingerprint

    first = found()
    prints = {first, found(batch_size=32), found(precision="bfloat16"), found(precision="int8")}
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    prints.add(found(device="cuda"))
    tokenizer = folder / "tokenizer_config.json"
    tokenizer.write_text(tokenizer.read_text().replace("true", "false", 1))
    prints.add(found())
    monkeypatch.setattr("bridgerec.encoders.text.version", lambda library: "99")
    prints.add(found())
    assert len(prints) == 7


def test_a_model_that_cannot_be_loaded_is_named(model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "model")
    (folder / "config.json").write_text("{}")
    with pytest.raises(ArtifactError, match="cannot load the model"):
        TextEncoder(Encoder(model=str(folder))).encode(["a"])


@pytest.mark.parametrize("precision", ["float32", "bfloat16", pytest.param("int8", marks=INT8)])
def test_a_vector_does_not_depend_on_its_company(precision: str) -> None:
    names = ("green", "tea", "old", "pot", "city", "book", "of", "small", "blue")
    texts = [" ".join(names[: 1 + n % 9]) + f" {n}" for n in range(40)] + ["x", *TEXTS]
    encoder = TextEncoder(Encoder.model_validate({"precision": precision, "device": "cpu"}))
    together = encoder.encode(texts)
    for i, text in enumerate(texts):
        np.testing.assert_array_equal(encoder.encode([text])[0], together[i])


def test_weights_kept_in_bfloat16_give_the_bits_of_autocast() -> None:
    import torch
    from transformers import AutoModel

    encoder = TextEncoder(Encoder(precision="bfloat16", device="cpu"))
    text = TEXTS[-1]
    found = encoder.encode([text])[0]
    kinds = {p.dtype for n, p in encoder._model.named_parameters() if "LayerNorm" in n}
    assert kinds == {torch.float32}
    model = AutoModel.from_pretrained(encoder.folder, dtype=torch.float32).eval()
    ids = encoder._tokenizer([text], truncation=True, max_length=96, return_tensors="pt").input_ids
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        hidden = model(input_ids=ids, attention_mask=torch.ones_like(ids))[0]
    mean = hidden.float().mean(1)
    np.testing.assert_array_equal(found, torch.nn.functional.normalize(mean, dim=1)[0].numpy())


def test_whitening_without_any_text_says_so() -> None:
    raw = TextEncoder(Encoder()).encode(["", ""])
    with pytest.raises(DataError, match=r"no item has any text.*embed\.fields"):
        Whitening.fit(raw, np.zeros(2, dtype=np.int64), None, 0.01)


def test_whitening_gives_uncorrelated_dimensions_and_no_domain_mean() -> None:
    rng = np.random.default_rng(0)
    domain = np.repeat([0, 1], 2000)
    vectors = rng.normal(size=(4000, 8)) @ rng.normal(size=(8, 8)) + domain[:, None] * 5.0 + 3
    vectors = vectors.astype(np.float32)
    whitening = Whitening.fit(vectors, domain, None, 0.0)
    raw = (vectors - whitening.means[domain]) @ whitening.weights
    np.testing.assert_allclose(np.cov(raw.T), np.eye(8), atol=0.02)
    for number in (0, 1):
        np.testing.assert_allclose(raw[domain == number].mean(0), 0, atol=1e-3)
    found = whitening.apply(
        np.vstack([vectors, np.zeros((1, 8), np.float32)]), np.append(domain, 0)
    )
    np.testing.assert_allclose(np.linalg.norm(found[:-1], axis=1), 1, atol=1e-5)
    assert not found[-1].any()


def test_ways_of_whitening() -> None:
    rng = np.random.default_rng(1)
    domain = np.repeat([0, 1], 500)
    vectors = (rng.normal(size=(1000, 6)) @ rng.normal(size=(6, 6)) + domain[:, None]).astype("f4")
    pca, zca = (Whitening.fit(vectors, domain, None, 0.0, way) for way in ("pca", "zca"))
    # the same angles between items, in other axes: the encoder's own
    np.testing.assert_allclose(
        *((w.apply(vectors, domain) @ w.apply(vectors, domain).T) for w in (pca, zca)), atol=1e-3
    )
    np.testing.assert_allclose(zca.weights, zca.weights.T, atol=1e-5)
    none = Whitening.fit(vectors, domain, None, 0.0, "none", domain_means=False)
    np.testing.assert_allclose(none.means, np.tile(vectors.mean(0), (2, 1)), rtol=1e-5)
    centred = vectors - vectors.mean(0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(none.apply(vectors, domain), unit, atol=1e-5)


def test_only_pca_can_be_cut() -> None:
    assert Embed(whitening_size=64).whitening == "pca"
    with pytest.raises(ValueError, match="whitening_size"):
        Embed(whitening="zca", whitening_size=64)
