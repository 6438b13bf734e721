"""An 8-bit copy of item vectors, by which a batch looks at all items in a fifth of the time.

Products of integers are exact, so a score read off the copy is wrong by no more than what rounding
moved: |q·v - q'·v'| <= |q| |v - v'| + |q - q'| |v'|.  Whatever the copy puts more than twice that
error below its k-th best cannot be among the k best; all the rest is scored exactly.  So the answer
is that of the exact scores, proved per question.

The vectors are turned by a random rotation first: it spreads what sticks out of single coordinates,
so that the step of rounding can be smaller.

Needs a processor with VNNI instructions, and torch, which multiplies 8-bit integers by them.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bridgerec.serving.topk import Floats, Ints, cells

Exact = NDArray[np.float64]
GROUP = 32  # items that share a maximum
CHUNK = 4096  # items whose scores stay in the processor's cache until their maxima are taken
STEP = 16  # questions: batches are filled up to a multiple, so that few kernels are made
ALONE = 4  # questions up to which one by one is faster than a batch
TOP = 127
UNIT = 2.0**-24  # rounding of float32
OUT = np.iinfo(np.int32).min  # the score of what is hidden


class Asked(NamedTuple):
    """Questions in 8 bits: `keys` (batch, width) int8; `unit` and `error` (batch,): a score is
    `unit` times the product of integers, give or take `error`."""

    keys: NDArray[np.int8]
    unit: Exact
    error: Exact


class Found(NamedTuple):
    """`scores` (items, batch) of the copy, and the `maxima` (groups, batch) of its groups; items
    j, j + GROUPS, j + 2 GROUPS ... of a chunk are group j of it."""

    scores: NDArray[np.int32]
    maxima: NDArray[np.int32]
    chunk: int


class Reached(NamedTuple):
    """`row` and `place`, each (pairs,); `many` (batch,): rows that were left out."""

    row: Ints
    place: Ints
    many: NDArray[np.bool_]


class Coarse:
    """A copy of `vectors` (n, d) and `extras` (n, e)."""

    def __init__(self, vectors: Floats, extras: Floats) -> None:
        import torch

        n, size = vectors.shape
        self.n, self.size, self._torch = n, size, torch
        self._turn = turn(size)
        self.chunk = min(CHUNK, -(-n // GROUP) * GROUP)
        # extras get the columns that are left over up to a multiple of 8, at least two each: a
        # weight too large for 8 bits is dealt over them
        self.copies = max(2, (-(size + 2 * extras.shape[1]) % 8) // max(1, extras.shape[1]) + 2)
        self.width = -(-(size + self.copies * extras.shape[1]) // 8) * 8
        self.scale = _scale(max((np.abs(p @ self._turn).max() for p in _parts(vectors)), default=0))
        self.scales = np.array([_scale(v) for v in np.abs(extras).max(axis=0, initial=0)])
        keys = np.zeros((-(-n // self.chunk) * self.chunk, self.width), dtype=np.int8)
        self.moved = self.longest = 0.0
        for number, part in enumerate(_parts(vectors)):
            turned = part @ self._turn
            rounded = np.rint(turned / self.scale)
            keys[number * CHUNK : number * CHUNK + len(part), :size] = rounded
            near = rounded.astype(np.float64) * self.scale
            self.moved = max(self.moved, float(_lengths(turned - near).max()))
            self.longest = max(self.longest, float(_lengths(near).max()))
        rounded = np.rint(extras / self.scales)
        self.extras_moved = np.abs(extras - rounded * self.scales).max(axis=0, initial=0)
        for place in range(self.copies * extras.shape[1]):
            keys[:n, size + place] = rounded[:, place // self.copies]
        self._keys = torch.from_numpy(keys)
        self._buffer = torch.empty(0, dtype=torch.int32)
        self._lock = threading.Lock()

    def ask(self, queries: Floats, weights: Floats) -> Asked:
        """Questions with `queries` (batch, d) and `weights` (batch, e) in 8 bits."""
        q, w = (queries @ self._turn).astype(np.float64), weights.astype(np.float64)
        # the step is large enough for what the extras' columns must hold
        most = TOP * self.copies * self.scale / self.scales
        step = np.abs(q).max(axis=1, initial=0) / TOP
        step = np.maximum(np.maximum(step, (np.abs(w) / most).max(axis=1, initial=0)), 1e-30)
        near = np.rint(q / step[:, None])
        unit = step * self.scale
        times = np.rint(w * self.scales / unit[:, None])
        limit = TOP * self.copies
        times = np.clip(times, -limit, limit)
        keys = np.zeros((len(q), self.width), dtype=np.int8)
        keys[:, : self.size] = near
        for copy in range(self.copies):
            share = times // self.copies + (copy < times % self.copies)
            keys[:, self.size + copy : self.size + self.copies * w.shape[1] : self.copies] = share
        error = _lengths(q) * self.moved + _lengths(q - near * step[:, None]) * self.longest
        error += np.abs(w) @ self.extras_moved
        error += np.abs(w - times * unit[:, None] / self.scales) @ (TOP * self.scales)
        # of the rotation and of the exact scores themselves, which are made in float32
        rounding = UNIT * (4 * self.size + 16)
        error += rounding * (_lengths(q) * self.longest + np.abs(w) @ (TOP * self.scales))
        return Asked(keys, unit, error * (1 + 1e-9))

    def prepare(self) -> None:
        """Ask once with every size of batch, so that no question waits for a kernel's making."""
        for batch in (1, *range(STEP, 4 * STEP + 1, STEP)):
            with self:
                self.scores(np.zeros((batch, self.width), dtype=np.int8), [])

    def scores(self, keys: NDArray[np.int8], hidden: Sequence[Sequence[int] | Ints]) -> Found:
        """Of all items; for use within `with coarse:`, because the arrays are used again."""
        torch, batch = self._torch, len(keys)
        width = 1 if batch == 1 else -(-batch // STEP) * STEP
        asked = np.zeros((width, self.width), dtype=np.int8)
        asked[:batch] = keys
        total = len(self._keys)
        chunk = total if batch == 1 else self.chunk
        if len(self._buffer) < total * width:
            self._buffer = torch.empty(total * width, dtype=torch.int32)
        found = self._buffer[: total * width].view(total, width)
        groups = chunk // GROUP
        maxima = torch.empty((total // chunk, groups, width), dtype=torch.int32)
        with torch.inference_mode():
            columns = torch.from_numpy(asked).T
            for number, start in enumerate(range(0, total, chunk)):
                part = found[start : start + chunk]
                torch._int_mm(self._keys[start : start + chunk], columns, out=part)
                if start + chunk > self.n:
                    part[self.n - start :] = OUT
                torch.amax(part.view(GROUP, groups, width), 0, out=maxima[number])
        result = Found(found.numpy(), maxima.view(-1, width).numpy(), chunk)
        self._hide(result, hidden)
        return result

    def _hide(self, found: Found, hidden: Sequence[Sequence[int] | Ints]) -> None:
        lengths = [len(own) for own in hidden]
        if not any(lengths):
            return
        rows = np.repeat(np.arange(len(hidden)), lengths)
        places = np.concatenate([np.asarray(own, dtype=np.int64) for own in hidden])
        groups = found.chunk // GROUP
        number, within = np.divmod(places, found.chunk)
        group = number * groups + within % groups
        # most groups have another maximum, and keep it
        led = found.scores[places, rows] == found.maxima[group, rows]
        found.scores[places, rows] = OUT
        group, rows = group[led], rows[led]
        found.maxima[group, rows] = _of_groups(found, group, rows).max(1)

    def kth(self, found: Found, k: int, batch: int) -> NDArray[np.int32]:
        """A score that at least k items of each row reach: the k-th largest of the maxima; `OUT`
        where there is none."""
        best = self._torch.topk(self._torch.from_numpy(found.maxima), k, dim=0, sorted=True)
        last: NDArray[np.int32] = best.values[-1].numpy()[:batch]
        return last

    def holds(self, k: int) -> bool:
        """Whether lists of k are short beside the number of groups."""
        return 8 * k <= self.n // GROUP

    @staticmethod
    def at_least(found: Found, bound: NDArray[np.int32], most: int) -> Reached:
        """All that reaches its row's `bound`, which is above `OUT`; a row in which more than `most`
        groups hold such a thing gets nothing."""
        group, row = cells(found.maxima[:, : len(bound)] >= bound)
        many = np.bincount(row, minlength=len(bound)) > most
        if many.any():
            group, row = group[~many[row]], row[~many[row]]
        hit, member = cells(_of_groups(found, group, row) >= bound[row][:, None])
        return Reached(row[hit], _places(group[hit], member, found.chunk), many)

    def __enter__(self) -> "Coarse":
        self._lock.acquire()
        return self

    def __exit__(self, *_: Any) -> None:
        self._lock.release()


def possible() -> bool:
    """Whether this processor and this torch multiply 8-bit integers fast, and without saturation
    (which older instructions have)."""
    try:
        import torch

        if not (torch.cpu._is_vnni_supported() or torch.cpu._is_amx_tile_supported()):
            return False
        signs = np.random.default_rng(0).choice([-TOP, TOP], (4 * GROUP, 136)).astype(np.int8)
        found = torch._int_mm(torch.from_numpy(signs), torch.from_numpy(signs[:STEP]).T).numpy()
    except (ImportError, AttributeError, RuntimeError):
        return False
    wide = signs.astype(np.int64)
    return bool((found == wide @ wide[:STEP].T).all())


def turn(size: int) -> Floats:
    """A random rotation (size, size), the same one every time."""
    found: Floats = np.linalg.qr(np.random.default_rng(0).standard_normal((size, size)))[0]
    return found.astype(np.float32)


def _parts(rows: Floats) -> Iterator[Floats]:
    """In pieces, so that nothing as large as all of them is made."""
    return (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))


def _of_groups(found: Found, group: Ints, row: Ints) -> NDArray[np.int32]:
    """The scores of each group's items in a row of its own, (len(group), GROUP)."""
    groups = found.chunk // GROUP
    number, within = np.divmod(group, groups)
    # a slice in the middle: four times as fast as an index for every item
    scores: NDArray[np.int32] = found.scores.reshape(-1, GROUP, groups, found.scores.shape[1])
    return scores[number, :, within, row]


def _places(group: Ints, member: Ints, chunk: int) -> Ints:
    """Where the `member`th items of groups are."""
    groups = chunk // GROUP
    number, within = np.divmod(group, groups)
    places: Ints = number * chunk + within + groups * member
    return places


def _lengths(rows: NDArray[np.floating[Any]]) -> Exact:
    wide = rows.astype(np.float64)
    return np.sqrt(np.einsum("nd,nd->n", wide, wide))


def _scale(largest: Any) -> float:
    return float(largest) / TOP or 1.0
