"""Which scripts an encoder can read, as its vocabulary tells.

The vocabulary of an English model holds some hundred pieces of other scripts, mostly single
characters; that of a model which has learnt a script holds thousands.  A text in a script that the
model has not learnt still gets a vector, of unknown pieces and letters without a meaning.
"""

import unicodedata
from collections import Counter
from typing import Any

FEW = 1000  # pieces of one script: all-MiniLM-L6-v2 has at most 488, multilingual-e5 at least 1,582
NAMES = {"CJK": "Chinese characters", "HIRAGANA": "Japanese kana", "KATAKANA": "Japanese kana"}
BYTES = "Ġ"  # how vocabularies of bytes write a blank


def scripts(text: str) -> Counter[str]:
    """How many letters of each script, by the first word of their Unicode names."""
    letters = Counter(character for character in text if character.isalpha())
    found: Counter[str] = Counter()
    for letter, count in letters.items():
        name = unicodedata.name(letter, "UNKNOWN").partition(" ")[0].partition("-")[0]
        found[NAMES.get(name, name.capitalize())] += count
    return found


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
