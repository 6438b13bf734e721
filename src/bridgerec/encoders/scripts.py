"""The scripts of texts, and which of them an encoder can read, as its vocabulary tells.

The vocabulary of an English model holds some hundred pieces of other scripts, mostly single
characters; that of a model which has learnt a script holds thousands.  A text in a script that the
model has not learnt still gets a vector, of unknown pieces and letters without a meaning.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEW = 1000  # pieces of one script: all-MiniLM-L6-v2 has at most 488, multilingual-e5 at least 1,582
NAMES = {"CJK": "Chinese characters", "HIRAGANA": "Japanese kana", "KATAKANA": "Japanese kana"}
BYTES = "Ġ"  # how vocabularies of bytes write a blank
TOGETHER = 50_000  # texts whose letters are counted at once


def script(letter: str) -> str:
    """The script of one letter, by the first word of its Unicode name."""
    name = unicodedata.name(letter, "UNKNOWN").partition(" ")[0].partition("-")[0]
    return NAMES.get(name, name.capitalize())


def scripts(text: str) -> Counter[str]:
    """How many letters of each script."""
    letters = Counter(character for character in text if character.isalpha())
    found: Counter[str] = Counter()
    for letter, count in letters.items():
        found[script(letter)] += count
    return found


def main_scripts(texts: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The names of all scripts, the first being "", and for each text, shape (n,), the place of
    that of most of its letters: the first by name where two have as many, "" where it has none.

    Letters are counted as numbers, so that a million titles take a second or two.
    """
    letters = {letter: script(letter) for letter in set().union(*texts) if letter.isalpha()}
    names = ("", *sorted(set(letters.values())))
    number = np.zeros(max(map(ord, letters), default=0) + 1, dtype=np.int64)
    for letter, name in letters.items():
        number[ord(letter)] = names.index(name)
    found = np.zeros(len(texts), dtype=np.int64)
    for start in range(0, len(texts), TOGETHER):
        part = texts[start : start + TOGETHER]
        lengths = np.array([len(text) for text in part])
        code = np.frombuffer("".join(part).encode("utf-32-le"), dtype=np.uint32)
        said = np.where(code < len(number), number[np.minimum(code, len(number) - 1)], 0)
        place = np.repeat(np.arange(len(part)), lengths) * len(names) + said
        count = np.bincount(place, minlength=len(part) * len(names)).reshape(len(part), -1)
        count[:, 0] = 0  # what is no letter
        found[start : start + len(part)] = count.argmax(axis=1)
    return names, found


def vocabulary(tokenizer: Any) -> Counter[str]:
    """How many pieces have letters of each script."""
    pieces = list(tokenizer.get_vocab())
    if 10 * sum(piece.startswith(BYTES) for piece in pieces) > len(pieces):
        pieces = [tokenizer.convert_tokens_to_string([piece]) for piece in pieces]
    found: Counter[str] = Counter()
    for piece in pieces:
        found.update(scripts(piece).keys())
    return found


def unread(text: str, known: Counter[str]) -> str | None:
    """The scripts that hold at least half of the letters and are hardly in the vocabulary, in
    words; None: most of the text can be read."""
    said = scripts(text)
    strange = {name: n for name, n in said.items() if known[name] < FEW}
    if not strange or 2 * sum(strange.values()) < said.total():
        return None
    return " and ".join(sorted(strange, key=lambda name: (-strange[name], name)))
