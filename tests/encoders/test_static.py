"""The static encoder: its table against plain loops, its vectors, its files."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from bridgerec.config import Encoder, Workspace
from bridgerec.data.prepare import prepare
from bridgerec.data.vectors import read_vectors
from bridgerec.encoders import static
from bridgerec.encoders.static import StaticTable
from bridgerec.encoders.text import TextEncoder
from bridgerec.pipeline.embed import embed
from bridgerec.runtime import file_hash
from helpers import small_params

TEXTS = ["a red teapot", "the history of green tea in old cities", "teapots, red!", "x"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformer with random weights and a vocabulary of 64 tokens."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("workspace") / "model"
    folder.mkdir()
    words = ["the", "of", "a", "in", "red", "green", "tea", "pot", "old", "history", "cities"]
    words += [",", "!", ":", "##pot", "##s", "query"]
    letters = [chr(n) for n in range(ord("a"), ord("z") + 1) if chr(n) != "a"]
    names = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *letters]
    (folder / "vocab.txt").write_text("\n".join(names))
    BertTokenizerFast(vocab={n: i for i, n in enumerate(names)}).save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(names), intermediate_size=32, **shape)
    BertModel(config).eval().save_pretrained(folder)
    return folder


def encoder(folder: Path, backend: str = "static", **changes: object) -> TextEncoder:
    config = {"model": folder.name, "precision": "float32", "device": "cpu", "backend": backend}
    return TextEncoder(Encoder.model_validate({**config, **changes}), folder.parent)


@pytest.mark.parametrize("prefix", ["", "query: "])
def test_vectors_equal_those_of_a_plain_loop(folder: Path, prefix: str) -> None:
    import torch
    from sklearn.decomposition import PCA
    from transformers import AutoModel, AutoTokenizer

    found = encoder(folder, prefix=prefix).encode(TEXTS)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    names = sorted(tokenizer.vocab, key=tokenizer.vocab.get)
    kept = [n for n in names if not n.startswith("[")]
    vectors = []
    for name in kept:
        words = [tokenizer.cls_token, *tokenizer.tokenize(prefix), name, tokenizer.sep_token]
        ids = torch.tensor([tokenizer.convert_tokens_to_ids(words)])
        with torch.inference_mode():
            mean = model.eval()(input_ids=ids).last_hidden_state[0].mean(0)
        vectors.append((mean / mean.norm()).numpy())
    reduced = PCA().fit_transform(np.array(vectors, dtype=np.float64))
    inverse = [1 / (rank + 2) for rank in range(len(kept))]
    weight = {n: 1e-4 / (1e-4 + p / sum(inverse)) for n, p in zip(kept, inverse, strict=True)}
    row = {n: weight[n] * r for n, r in zip(kept, reduced, strict=True)}
    plain = []
    for text in TEXTS:
        total = sum(row[name] for name in tokenizer.tokenize(text))
        plain.append(total / np.linalg.norm(total))
    # directions have no sign of their own, and whitening takes no notice: compare angles
    np.testing.assert_allclose(found @ found.T, np.array(plain) @ np.array(plain).T, atol=1e-4)
    assert found[0] @ found[2] > found[0] @ found[3]


def test_a_vector_does_not_depend_on_its_company(folder: Path) -> None:
    names = ("green", "tea", "old", "pot", "cities", "in", "of", "red")
    texts = [" ".join(names[: 1 + n % 8]) + " s" * (n // 8) for n in range(40)] + TEXTS
    together = encoder(folder).encode(texts)
    np.testing.assert_array_equal(encoder(folder).encode(texts[::-1])[::-1], together)
    for i, text in enumerate(texts):
        np.testing.assert_array_equal(encoder(folder).encode([text])[0], together[i])


def test_texts_without_a_known_token_get_no_vector(folder: Path) -> None:
    found = encoder(folder).encode(["茶", "", "red"])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [0, 0, 1], atol=1e-6)
    cut = encoder(folder, max_length=4).encode(["red tea", "red tea pot"])
    np.testing.assert_array_equal(*cut)  # max_length holds for texts, special tokens included


def test_the_table_is_made_once_and_alike(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = encoder(folder, "torch")
    np.testing.assert_array_equal(static.distil(teacher), static.distil(teacher))
    first = StaticTable.of(teacher, "key", tmp_path)

    def refuse(teacher: TextEncoder) -> None:
        raise AssertionError("the table was made again")

    with monkeypatch.context() as patch:
        patch.setattr(static, "distil", refuse)
        again = StaticTable.of(teacher, "key", tmp_path)
    np.testing.assert_array_equal(again.rows, first.rows)


@pytest.mark.parametrize("name", ["table.safetensors", "table.json"])
@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_a_damaged_table_is_made_again(
    folder: Path, tmp_path: Path, name: str, damage: str
) -> None:
    teacher = encoder(folder, "torch")
    first = StaticTable.of(teacher, "key", tmp_path)
    path = tmp_path / "key" / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 0xFF
    path.write_bytes(content) if damage == "flip" else path.unlink()
    with pytest.warns(UserWarning, match="made again"):
        again = StaticTable.of(teacher, "key", tmp_path)
    np.testing.assert_array_equal(again.rows, first.rows)
    assert np.array_equal(StaticTable.load(tmp_path / "key").rows, first.rows)


def test_the_fingerprint_knows_the_backend_the_model_and_the_method(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prints = {encoder(folder).fingerprint, encoder(folder, "torch").fingerprint}
    prints.add(encoder(folder, pooling="cls").fingerprint)
    monkeypatch.setattr(static, "METHOD", "another")
    prints.add(encoder(folder).fingerprint)
    assert len(prints) == 4


def test_only_principal_directions_are_kept() -> None:
    rng = np.random.default_rng(0)
    strong = rng.normal(size=(200, 3)) @ rng.normal(size=(3, 8)) * 10 + 5
    vectors = (strong + rng.normal(size=(200, 8)) * 0.01).astype(np.float32)
    found = static.principal(vectors, 3)
    centred = vectors - vectors.mean(0)
    np.testing.assert_allclose(found @ found.T, centred @ centred.T, rtol=0.01, atol=0.5)
    assert found.std(0).argsort().tolist() == [2, 1, 0]


def test_the_embed_stage_makes_static_vectors(folder: Path, small_workspace: Workspace) -> None:
    text = {"model": str(folder), "backend": "static", "precision": "float32"}
    root = small_workspace.root
    (root / "params.yaml").write_text(yaml.safe_dump(small_params(embed={"text": text})))
    workspace = Workspace.open(root)
    prepare(workspace)
    embed(workspace, lambda line: None)
    vectors = read_vectors(workspace, 60)
    # red, green and blue things in turn; this vocabulary knows no blue
    norms = np.tile([1, 1, 0], 20)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), norms, atol=1e-5)
    assert len(list(root.glob("artifacts/cache/static/*/table.safetensors"))) == 1
    first = file_hash(workspace.vectors)
    embed(workspace, lambda line: None)  # from the table and the cache
    assert file_hash(workspace.vectors) == first
