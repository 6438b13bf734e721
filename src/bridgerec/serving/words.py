"""Which rare words two texts share, in any script."""

import re
from collections import Counter
from collections.abc import Iterable

# Han and kana are written without spaces: their words are taken to be pairs of characters
UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
RUN = re.compile(f"[{UNSPACED}]+|[^\\W_{UNSPACED}]+")
PAIRED = re.compile(f"[{UNSPACED}]")
COMMON = 0.02  # words of more than this share of the texts tell nothing


def runs(text: str) -> list[list[str]]:
    """The words of a text in lower case; a run of unspaced script is a list of its overlapping
    pairs of characters, every other word a list of its own.  Numbers are left out."""
    found = []
    for run in RUN.findall(text.casefold()):
        if PAIRED.match(run):
            found.append([run[i : i + 2] for i in range(max(1, len(run) - 1))])
        elif len(run) > 1 and not run.isdigit():
            found.append([run])
    return found


class Words:
    """Knows how many of the texts hold each word."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.count: Counter[str] = Counter()
        self.texts = 0
        for text in texts:
            self.texts += 1
            self.count.update({word for run in runs(text) for word in run})

    def shared(self, text: str, others: Iterable[str], most: int) -> list[str]:
        """At most `most` words of `text` that one of the `others` has too, the rarest first.

        Neighbouring pairs of unspaced script become one word where the other text has it whole.
        Equally rare ones come in the order of the text.
        """
        found: dict[str, int] = {}
        limit = max(2, COMMON * self.texts)
        for other in others:
            folded, own = other.casefold(), {word for run in runs(other) for word in run}
            for run in runs(text):
                for word in _joined([w for w in run if w in own], run, folded):
                    rare = min(self.count[part] for parts in runs(word) for part in parts)
                    if rare <= limit:
                        found.setdefault(word, rare)
        order = text.casefold().find
        ranked = sorted(found, key=lambda word: (found[word], order(word)))
        parts = {w for w in found if PAIRED.match(w) and any(w != o and w in o for o in found)}
        return [word for word in ranked if word not in parts][:most]


def _joined(shared: list[str], run: list[str], other: str) -> list[str]:
    """Shared words of one run, neighbours joined as far as `other` holds them together."""
    found: list[str] = []
    last = -2
    for place, word in enumerate(run):
        if word not in shared:
            continue
        if place == last + 1 and found[-1] + word[1:] in other:
            found[-1] += word[1:]
        else:
            found.append(word)
        last = place
    return found
