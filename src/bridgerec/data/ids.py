"""Numbers for texts: every text is hashed and compared once, the rest is array work."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridgerec.data.order import at, slices

_ROWS_PER_BUCKET = 8  # ids repeat; a larger table falls out of the processor's cache


def distinct(ids: pl.Series) -> tuple[pl.Series, NDArray[np.uint32]]:
    """The distinct ids in no particular order, and for each row the place of its id among them.

    Works on 64-bit hashes, several times cheaper than the texts, and compares every text
    afterwards; should two ids ever share a hash, the texts themselves are encoded.
    """
    hashes = np.empty(len(ids), dtype=np.uint64)
    for part in slices(len(ids)):
        hashes[part] = ids[part].hash().to_numpy()
    some_row, code = _group(hashes)
    names = ids.gather(some_row)
    if not _same(names, code, ids):
        names = ids.unique().sort(nulls_last=True)
        kind = pl.Enum(names.drop_nulls())
        code = ids.cast(kind).to_physical().cast(pl.UInt32).fill_null(len(names) - 1).to_numpy()
    return names, code


def encode_people(ids: pl.Series) -> tuple[pl.Series, NDArray[np.int32]]:
    """The distinct ids sorted, and for each row the place of its id among them."""
    names, code = distinct(ids)
    order = names.arg_sort()
    place = np.empty(len(names), dtype=np.int32)
    place[order.to_numpy()] = np.arange(len(names))
    return names.gather(order), at(place, code)


def _same(names: pl.Series, code: NDArray[np.uint32], ids: pl.Series) -> bool:
    """Whether the codes give the ids back; by slices, which take the same memory in turn."""
    return all(names.gather(code[part]).eq_missing(ids[part]).all() for part in slices(len(ids)))


def _group(hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Some row of each distinct hash, and for each row the number of its hash among those.

    A hash table without a loop over rows: all rows write themselves into their bucket, where the
    last one stays; who finds its own hash there is done, the others go another round.
    """
    bits = max((len(hashes) // _ROWS_PER_BUCKET).bit_length(), 1)
    some_row, code, rest = _round(hashes, bits)
    while len(rest):
        owner, found, again = _round(hashes[rest], bits)
        code[rest] = len(some_row) + found
        some_row, rest = np.concatenate([some_row, rest[owner]]), rest[again]
    return some_row, code


def _round(
    hashes: NDArray[np.uint64], bits: int
) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.int64]]:
    """The row that stays in each bucket; for each row the number of its bucket's; and the rows
    whose bucket belongs to another hash."""

    def bucket(part: slice) -> NDArray[np.int64]:
        return (hashes[part] >> np.uint64(64 - bits)).view(np.int64)

    table = np.full(1 << bits, -1, dtype=np.int32)
    for part in slices(len(hashes)):
        table[bucket(part)] = np.arange(part.start, part.stop, dtype=np.int32)
    taken = np.flatnonzero(table >= 0)
    owner = table[taken].astype(np.int64)
    table[taken] = np.arange(len(owner), dtype=np.int32)
    own, code = hashes[owner], np.empty(len(hashes), dtype=np.uint32)
    rest = [np.empty(0, dtype=np.int64)]
    for part in slices(len(hashes)):
        code[part] = at(table, bucket(part))
        rest.append(part.start + np.flatnonzero(at(own, code[part]) != hashes[part]))
    return owner, code, np.concatenate(rest)
