"""All items that can be shown: the catalogue's by index, then those that were added since."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from heapq import merge
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.data.dataset import Catalogue
from bridgerec.errors import ArtifactError
from bridgerec.serving.additions import Additions, Entry, nearest
from bridgerec.serving.columns import Columns
from bridgerec.serving.halves import products
from bridgerec.serving.labels import Labels
from bridgerec.serving.pictures import Pictures
from bridgerec.serving.schemas import Filters
from bridgerec.serving.state import NewItem
from bridgerec.serving.titles import Titles
from bridgerec.serving.towers import mapped

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
TEXT = ("title", "description", "category", "brand")


class Shelf:
    """`columns` are lists by global index; `index` finds it by domain and item id.

    A shelf never changes: what is added makes another one (`taking`), so that each question has one
    and the same to the end, in whatever thread it is answered.

    `vectors_path` is the bundle's `vectors.safetensors` (float16); mapped at once and read where it
    lies, so that workers share it, and another release packaged into the same folder meanwhile
    changes nothing.  `born`
    (n_items,) is when each item was first met, in seconds; NaN where unknown.  `pictures` are the
    bundle's, if there are any.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        vectors_path: Path | None = None,
        born: NDArray[np.float64] | None = None,
        pictures: Pictures | None = None,
    ) -> None:
        self.catalogue = catalogue
        there = vectors_path if vectors_path is not None and vectors_path.is_file() else None
        self._mapped = None if there is None else mapped(there)["vectors"]
        items, n = catalogue.items, len(catalogue)
        self.pictures = pictures or Pictures(None)
        self.born = np.full(n, np.nan) if born is None else born
        # one text for equal ones: it is found in the processor's cache when it is answered
        self.domains: list[str] = _shared(items["domain"].to_list())
        self.columns: dict[str, list[Any]] = {"item_id": items["item_id"].to_list()}
        for name in TEXT:
            known = name in items.columns
            self.columns[name] = items[name].fill_null("").to_list() if known else [""] * n
        for name in ("category", "brand"):
            self.columns[name] = _shared(self.columns[name])
        image = "image" in items.columns
        self.columns["image"] = items["image"].to_list() if image else [None] * n
        price = items["price"].to_list() if "price" in items.columns else [None] * n
        self.price = np.array([np.nan if p is None else p for p in price], dtype=np.float64)
        self.category, self.brand = (Labels.of(self.columns[c]) for c in ("category", "brand"))
        self.index: dict[str, dict[str, int]] = {}
        self._titles: dict[str, Titles] = {}  # the catalogue's
        self.blocks = {domain: catalogue.block(domain) for domain in catalogue.domains}
        for domain, block in self.blocks.items():
            ids = self.columns["item_id"][block]
            self._titles[domain] = Titles(self.columns["title"][block])
            self.index[domain] = dict(zip(ids, range(block.start, block.stop), strict=True))
        self.added = Additions(n)
        self.changed: dict[int, Floats] = {}  # vectors of catalogue items that have other words now
        self.seen = 0  # the newest addition that was taken in, by the store's numbers

    @property
    def stored(self) -> NDArray[np.float16]:
        """Unit vectors of the catalogue's items as the bundle has them, (n_items, size).

        Raises:
            ArtifactError: the bundle holds none.
        """
        if self._mapped is None:
            raise ArtifactError("this release was packaged without item vectors. Package it again.")
        return self._mapped

    def vector(self, items: Ints) -> Floats:
        """Unit vectors of any items, (len(items), size)."""
        n = len(self.catalogue)
        found = self.stored[np.minimum(items, n - 1)].astype(np.float32)
        if len(self.added):
            found[items >= n] = self.added.vectors[items[items >= n] - n]
        for item, vector in self.changed.items():
            found[items == item] = vector
        return found

    def cosines(self, vector: Floats, domain: str) -> Floats:
        """Cosine to each item of a domain, in the order of `choices`."""
        known, added = self.known_cosines(vector, domain), self.added.of_domain(domain)
        if not len(added):
            return known
        return np.concatenate([known, self.added.vectors[added - len(self.catalogue)] @ vector])

    def known_cosines(self, vector: Floats, domain: str) -> Floats:
        """Cosine to each catalogue item of a domain."""
        block = self.blocks[domain]
        found = products(self.stored[block], vector)
        for item, own in self.changed.items():
            if block.start <= item < block.stop:
                found[item - block.start] = own @ vector
        return found

    def choices(self, domain: str) -> Ints:
        """Global indices of a domain's items: the catalogue's, then added ones."""
        block = self.blocks[domain]
        return np.concatenate([np.arange(block.start, block.stop), self.added.of_domain(domain)])

    def items_at(self, domain: str, places: Ints) -> Ints:
        """`choices(domain)[places]`, without making all choices."""
        block = self.blocks[domain]
        size = block.stop - block.start
        if not len(self.added.of_domain(domain)):
            return places + block.start
        later = self.added.of_domain(domain)[np.maximum(places - size, 0)]
        return np.where(places < size, places + block.start, later)

    def places(self, domain: str, items: Sequence[int]) -> list[int]:
        """Where `choices` has items; those of other domains are left out."""
        start, stop = self.blocks[domain].start, self.blocks[domain].stop
        later = self.added.places(domain)
        if not later:
            return [i - start for i in items if start <= i < stop]
        return [
            i - start if i < stop else stop - start + later[i]
            for i in items
            if start <= i < stop or i in later
        ]

    def taking(self, items: Sequence[NewItem], vectors: Sequence[Floats], seen: int) -> "Shelf":
        """This shelf with new (or changed) items of known domains and their unit vectors; `seen` is
        the store's number of the newest.  This one stays as it is, for whoever works with it."""
        found, n, old = copy(self), len(self.catalogue), len(self.domains)
        found.seen = max(seen, self.seen)
        found.index = {**self.index, **{i.domain: {**self.index[i.domain]} for i in items}}
        places, size = [], old
        for item in items:
            places.append(found.index[item.domain].setdefault(item.item_id, size))
            size = max(size, places[-1] + 1)
        found.domains = [*self.domains, *[""] * (size - old)]
        found.columns = {name: [*own, *[""] * (size - old)] for name, own in self.columns.items()}
        found.price = np.append(self.price, np.full(size - old, np.nan))
        found.born = np.append(self.born, np.full(size - old, time.time()))
        found.category = self.category.put(places, [i.category for i in items], size)
        found.brand = self.brand.put(places, [i.brand for i in items], size)
        entries = []
        for at, item, vector in zip(places, items, vectors, strict=True):
            found.domains[at] = item.domain
            for name, column in found.columns.items():
                column[at] = getattr(item, name)
            found.price[at] = np.nan if item.price is None else item.price
            if at < n:
                found.changed = {**found.changed, at: vector}
            else:
                first = self.blocks[item.domain].start
                near, share = nearest(found.known_cosines(vector, item.domain))
                entries.append(Entry(at, item.domain, vector, near + first, share, first))
        found.added = self.added.putting(entries)
        return found

    @property
    def table(self) -> Columns:
        """All its items, as rules and explanations know them."""
        columns = {name: self.columns[name] for name in ("item_id", *TEXT)}
        vectors_of = None if self._mapped is None else self.vector
        return Columns(
            self.domains, **columns, price=self.price, born=self.born, vectors_of=vectors_of
        )

    def fits(self, items: Ints, filters: Filters) -> NDArray[np.bool_]:
        """Which items pass the filters, shape of `items`."""
        fit = np.ones(len(items), dtype=bool)
        if filters.categories:
            fit &= self.category.where(filters.categories, True)[self.category.codes[items]]
        if filters.brands:
            fit &= self.brand.where(filters.brands, False)[self.brand.codes[items]]
        if filters.price_min is not None:
            fit &= self.price[items] >= filters.price_min  # false for NaN
        if filters.price_max is not None:
            fit &= self.price[items] <= filters.price_max
        return fit

    def show(self, items: Sequence[int]) -> list[dict[str, Any]]:
        """What an answer tells of items, one entry per item."""
        columns, domains, address = self.columns, self.domains, self.pictures.address
        ids, titles, images = columns["item_id"], columns["title"], columns["image"]
        categories, brands = columns["category"], columns["brand"]
        return [
            {
                "domain": domains[item],
                "item_id": ids[item],
                "title": titles[item],
                "category": categories[item],
                "brand": brands[item],
                "price": None if math.isnan(price) else price,
                "image": address(item) or images[item],
            }
            for item, price in zip(items, self.price[items].tolist(), strict=True)
        ]

    def titled(self, domain: str | None, query: str, limit: int) -> list[int]:
        """The first `limit` items with `query` in their title, whatever its case."""
        names = [domain] if domain is not None else self.catalogue.domains
        return list(islice(chain.from_iterable(self._titled(n, query) for n in names), limit))

    def _titled(self, domain: str, query: str) -> Iterator[int]:
        block, titles, part = self.blocks[domain], self.columns["title"], query.casefold()

        def fitting(items: Iterable[int]) -> Iterator[int]:
            return (item for item in items if part in titles[item].casefold())

        known = (block.start + place for place in self._titles[domain].find(query))
        same = (item for item in known if item not in self.changed)
        other = sorted(i for i in self.changed if block.start <= i < block.stop)
        yield from merge(same, fitting(other))
        yield from fitting(self.added.of_domain(domain).tolist())


def _shared(texts: Sequence[str]) -> list[str]:
    """The texts, equal ones as one object."""
    known: dict[str, str] = {}
    return [known.setdefault(text, text) for text in texts]
