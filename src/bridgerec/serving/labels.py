"""A column of texts as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Labels:
    """`codes` (n,) are the texts' numbers, `number` has that of each distinct text: a filter looks
    at each text once."""

    codes: NDArray[np.int32]
    number: dict[str, int]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Labels":
        distinct = dict.fromkeys(texts)
        number = dict(zip(distinct, range(len(distinct)), strict=True))
        return cls(np.array([*map(number.__getitem__, texts)], dtype=np.int32), number)

    def put(self, places: Sequence[int], texts: Sequence[str], size: int) -> "Labels":
        """The column, grown to `size`, with these texts at these places."""
        number = {**self.number}
        codes = np.zeros(size, dtype=np.int32)
        codes[: len(self.codes)] = self.codes
        codes[places] = [number.setdefault(text, len(number)) for text in texts]
        return Labels(codes, number)

    def where(self, wanted: Sequence[str], prefix: bool) -> NDArray[np.bool_]:
        """Which texts are (or begin with) one of `wanted`, by code; letter case is ignored."""
        folded = tuple(w.casefold() for w in wanted)
        if prefix:
            fit = [text.casefold().startswith(folded) for text in self.number]
        else:
            fit = [text.casefold() in folded for text in self.number]
        return np.array(fit, dtype=bool)
