"""Fine-tuning of tiny BERT-like and GPT-like encoders: what it learns from, moves and leaves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bridgerec.config import Encoder, FineTune, Workspace
from bridgerec.data.dataset import Catalogue, Split
from bridgerec.data.prepare import prepare
from bridgerec.encoders.text import TextEncoder
from bridgerec.errors import ConfigError, DataError
from bridgerec.pipeline.embed import embed, learnable
from bridgerec.runtime import file_hash, read_json
from bridgerec.training.finetune import Pairs, Tuned, finetune, neighbours
from helpers import small_params

WORDS = ("left", "right", "red", "green", "blue", "thing", *map(str, range(30)))
QUICK: dict[str, Any] = {"steps": 12, "batch_size": 16, "learning_rate": 5e-3, "rank": 4}


def tiny(folder: Path, kind: str) -> Path:
    """A randomly initialised model with a tokenizer of whole words; GPT-2 without padding."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, GPT2Config, GPT2Model, PreTrainedTokenizerFast

    vocabulary = {w: i for i, w in enumerate(("[UNK]", *WORDS))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    torch.manual_seed(0)
    model: Any
    if kind == "bert":
        size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
        config = BertConfig(vocab_size=len(vocabulary), intermediate_size=32, **size)
        model = BertModel(config)
    else:
        model = GPT2Model(GPT2Config(vocab_size=len(vocabulary), n_embd=16, n_layer=2, n_head=2))
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("models") / "bert", "bert")


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("models") / "gpt", "gpt")


def encoder(folder: Path, pooling: str, **changes: Any) -> TextEncoder:
    options = {"model": str(folder), "pooling": pooling, "precision": "float32", "device": "cpu"}
    return TextEncoder(Encoder.model_validate({**options, **changes}))


def world() -> tuple[list[str], tuple[np.ndarray, np.ndarray], np.ndarray]:
    """60 items of two domains in three colours; every person keeps to one colour."""
    domain = np.repeat([0, 1], 30)
    colours = ("red", "green", "blue")
    texts = [f"{('left', 'right')[n // 30]} {colours[n % 3]} thing {n % 30}" for n in range(60)]
    rng = np.random.default_rng(0)
    rows = [rng.choice(np.arange(n % 3, 60, 3), 8, replace=False) for n in range(60)]
    return texts, (np.repeat(np.arange(60), 8), np.concatenate(rows)), domain


@pytest.mark.parametrize(
    ("kind", "pooling", "method"),
    [("bert", "mean", "lora"), ("bert", "cls", "full"), ("gpt", "last", "lora")],
)
def test_what_people_share_comes_closer(
    kind: str, pooling: str, method: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    before = encoder(request.getfixturevalue(kind), pooling)
    texts, rows, domain = world()
    config = FineTune.model_validate({**QUICK, "method": method, "steps": 40, "anchor": 0.1})
    report = finetune(before, texts, rows, domain, config, tmp_path)
    assert report["mrr"][str(report["best_step"])] > report["mrr"]["0"]
    after = encoder(Path(report["model"]), pooling)
    assert after.fingerprint != before.fingerprint

    def gap(model: TextEncoder) -> float:
        cosine = (vectors := model.encode(texts)) @ vectors.T
        same = np.equal.outer(np.arange(60) % 3, np.arange(60) % 3) & ~np.eye(60, dtype=bool)
        return float(cosine[same].mean() - cosine[~same].mean())

    assert gap(after) > gap(before) + 0.02
    tokens = [m._tokenizer(texts)["input_ids"] for m in (before, after)]
    assert tokens[0] == tokens[1]
    for path in Path(report["model"]).glob("*.json"):
        assert str(before.folder.parent) not in path.read_text()
        assert json.loads(path.read_text()).get("name_or_path", "") == ""


def test_the_same_again_and_found_again(bert: Path, tmp_path: Path) -> None:
    before, config = encoder(bert, "mean"), FineTune(**QUICK)
    first, second = (finetune(before, *world(), config, tmp_path / n) for n in ("a", "b"))
    assert file_hash(Path(first["model"])) == file_hash(Path(second["model"]))
    written = (Path(first["model"]) / "config.json").stat().st_mtime_ns
    assert finetune(before, *world(), config, tmp_path / "a") == first
    assert (Path(first["model"]) / "config.json").stat().st_mtime_ns == written


def test_the_original_stays_where_training_does_not_help(bert: Path, tmp_path: Path) -> None:
    config = FineTune.model_validate({**QUICK, "steps": 1, "learning_rate": 1e-12})
    report = finetune(encoder(bert, "mean"), *world(), config, tmp_path)
    assert report["best_step"] == 0
    assert report["model"] is None
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(("kind", "pooling"), [("bert", "mean"), ("bert", "cls"), ("gpt", "last")])
def test_padding_changes_no_vector(kind: str, pooling: str, request: Any) -> None:
    before = encoder(request.getfixturevalue(kind), pooling)
    texts = ["red", "left blue thing 3", "right green", "left red thing 1 2 3 4"]
    expected = before.encode(texts)
    tuned = Tuned(before, FineTune(method="full"))
    found = tuned([before._tokenizer(t)["input_ids"] for t in texts]).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_neighbours_of_one_person_with_other_texts() -> None:
    user = np.array([0, 0, 0, 0, 1, 1])
    item = np.array([0, 1, 2, 3, 0, 4])
    text = np.array([0, 0, 1, 2, -1])  # items 0 and 1 read the same, item 4 has no text
    found = neighbours(user, item, text, window=2)
    assert found.tolist() == [[0, 1, 2], [0, 2, 3], [0, 0, 2], [0, 1, 3]]


def test_negatives_are_of_the_domain_and_not_known_to_fit() -> None:
    rows = np.array([[0, 0, 1], [1, 2, 3], [2, 4, 5], [2, 0, 3]])
    pairs = Pairs(rows, np.arange(6), np.array([0, 0, 0, 0, 0, 1]))
    out = pairs.excluded(np.arange(3))  # 0 -> 1, 2 -> 3, 4 -> 5
    assert out.tolist() == [[False, True, True], [False, False, True], [True, True, False]]
    assert not pairs.excluded(np.array([0, 0])).diagonal().any()
    assert pairs.excluded(np.array([0, 0])).tolist() == [[False, True], [True, False]]


def test_too_little_to_learn_from_says_so(bert: Path, tmp_path: Path) -> None:
    texts, _, domain = world()
    rows = (np.arange(60), np.arange(60))
    with pytest.raises(DataError, match=r"embed\.finetune"):
        finetune(encoder(bert, "mean"), texts, rows, domain, FineTune(), tmp_path)


def test_lora_without_peft_says_what_to_install(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.metadata import PackageNotFoundError

    def missing(library: str) -> str:
        raise PackageNotFoundError(library)

    before = encoder(bert, "mean")
    monkeypatch.setattr("bridgerec.training.finetune.version", missing)
    with pytest.raises(ConfigError, match=r"bridgerec\[finetune\]"):
        finetune(before, *world(), FineTune(), tmp_path)


def test_the_embed_stage_learns_from_rows_that_train_everywhere(
    small_workspace: Workspace, bert: Path
) -> None:
    text = {"model": str(bert), "precision": "float32", "device": "cpu"}
    config = {"text": text, "finetune": QUICK}
    path = small_workspace.root / "params.yaml"
    path.write_text(yaml.safe_dump(small_params(embed=config)))
    prepare(small_workspace)
    catalogue = Catalogue.read(small_workspace.prepared / "items.parquet")
    user, item = learnable(small_workspace, catalogue)[1]
    found = set(zip(user.tolist(), item.tolist(), strict=True))
    names = read_json(small_workspace.prepared / "splits.json")
    assert len(names) > 2
    expected = None
    for name in names:
        split = Split.read(small_workspace.prepared, name, catalogue)
        fit = set(zip(split.user[split.fit].tolist(), split.item[split.fit].tolist(), strict=True))
        expected = fit if expected is None else expected & fit
    assert found == expected
    assert (np.diff(user) >= 0).all()
    embed(small_workspace, lambda _: None)
    card = read_json(small_workspace.vectors / "encoder.json")
    assert card["finetune"]["best_step"] > 0
    assert card["fingerprint"] != encoder(bert, "mean").fingerprint
    assert str(small_workspace.root) not in json.dumps(card["finetune"])
