"""What re-ranking rules and explanations know of the items."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridgerec.data.dataset import Histories

DIVIDER = re.compile(r"\s*[>/|]\s*")


@lru_cache(100_000)
def levels(category: str) -> tuple[str, ...]:
    """The levels of a category path ("Books > Jazz"), in lower case, the broadest first."""
    return tuple(level for level in DIVIDER.split(category.casefold().strip()) if level)


@dataclass(frozen=True)
class Columns:
    """The catalogue by columns; position i is the item of global index i.

    Missing texts are "".  `price` (n,) and `born` (n,; seconds, when somebody first met the
    item) are NaN where unknown; `vectors_of` gives the unit vectors (m, size) of m items.
    """

    domain: Sequence[str]
    item_id: Sequence[str]
    title: Sequence[str]
    description: Sequence[str]
    category: Sequence[str]
    brand: Sequence[str]
    price: NDArray[np.float64]
    born: NDArray[np.float64]
    vectors_of: Callable[[NDArray[np.int64]], NDArray[np.float32]] | None = None

    def __len__(self) -> int:
        return len(self.item_id)

    @classmethod
    def of(
        cls,
        items: pl.DataFrame,
        vectors: NDArray[np.float32] | None = None,
        born: NDArray[np.float64] | None = None,
    ) -> "Columns":
        """From the table of a `Catalogue`; columns that it lacks are empty.  `vectors`
        (n, size), `born` (n,)."""
        unknown = np.full(items.height, np.nan)
        names = ("domain", "item_id", "title", "description", "category", "brand")
        texts = {
            name: items[name].fill_null("").to_list()
            if name in items.columns
            else [""] * items.height
            for name in names
        }
        price = unknown
        if "price" in items.columns:
            price = items["price"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        return cls(
            **texts,
            price=price,
            born=unknown if born is None else born,
            vectors_of=None if vectors is None else vectors.__getitem__,
        )

    def shown(self, item: int) -> dict[str, str]:
        """How an answer names an item."""
        return {
            "domain": self.domain[item],
            "item_id": self.item_id[item],
            "title": self.title[item],
        }


def first_met(histories: Histories, n_items: int) -> NDArray[np.float64]:
    """The time of each item's first row in seconds, shape (n_items,); NaN where there is none."""
    found = np.full(n_items, np.inf)
    if histories.timestamp is not None:
        np.minimum.at(found, histories.items, histories.timestamp.astype(np.float64))
    found[np.isinf(found)] = np.nan
    return found
