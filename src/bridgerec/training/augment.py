"""Other views of the same history: crop, drop, reorder (CL4SRec, Xie et al., ICDE 2022)."""

from dataclasses import replace

import numpy as np

from bridgerec.data.dataset import Histories


def augment(histories: Histories, share: float, rng: np.random.Generator) -> Histories:
    """Each row changed in one way, drawn for it: only a piece of the history is kept, single
    entries are left out, or the entries of a piece change places.

    `share` is the share of a row that is cropped away, dropped, or shuffled.  At least one entry
    of each row stays; the order is else kept.  Times stay at their places.
    """
    n, lengths = len(histories), histories.lengths
    way = rng.integers(0, 3, n)
    piece = np.maximum(np.rint(lengths * np.where(way == 2, share, 1 - share)), 1).astype(np.int64)
    start = (rng.random(n) * (lengths - piece + 1)).astype(np.int64)
    place = np.arange(len(histories.items)) - np.repeat(histories.indptr[:-1], lengths)
    first = np.repeat(start, lengths)
    inside = (place >= first) & (place < first + np.repeat(piece, lengths))
    chance = rng.random(len(place))
    shuffled = inside & (way == 2)[histories.rows]
    # shuffled entries draw a new place inside their piece, the others keep theirs
    order = np.lexsort((np.where(shuffled, first + chance * 0.5, place), histories.rows))
    # (entries after the piece have places of at least first + 1, entries before below first)
    keep = np.where(way[histories.rows] == 0, inside, True)
    least = np.zeros(len(place), dtype=bool)
    least[(histories.indptr[1:] - 1)[lengths > 0]] = True
    keep &= np.where(way[histories.rows] == 1, (chance >= share) | least, True)
    items, weights = histories.items[order], histories.weights[order]
    return replace(histories, items=items, weights=weights).where(keep)
