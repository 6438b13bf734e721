"""Smaller forms of a candidate's arrays: pruned, in bfloat16, in int8.

A float32 array of two or more axes and at least `LEAST` entries is pruned and rounded along its
last axis (a row); everything else is stored as it is.  Pruning keeps the largest entries by
magnitude (Han et al., NeurIPS 2015), as many in every row, and where they stand.  int8 is symmetric
with one scale per row.  Where the last two axes are square, the diagonal is kept in float32 apart:
it dominates an inverse (EASE) and a map that starts as the identity, and would set the scale of its
whole row.  A stored array NAME becomes NAME@int8 and NAME@scale, NAME@bfloat16 (its upper 16 bits),
or NAME@float32, with NAME@place and NAME@width if it is pruned, and NAME@diagonal if there is one.
Doing it twice gives what doing it once gives.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bridgerec.config import Compression

if TYPE_CHECKING:
    from bridgerec.models.base import Arrays

Floats = NDArray[np.float32]
LEAST = 1024  # entries: below, a scale per row costs what rounding saves


def compress(arrays: "Arrays", wanted: Compression) -> "Arrays":
    """The stored form; `expand` is its inverse but for the rounding.

    An entry that is kept, of a row whose largest magnitude is m, moves by at most .504 m / 127
    (int8) or by 2^-8 of itself (bfloat16).
    """
    found: Arrays = {}
    for name, array in arrays.items():
        if array.dtype != np.float32 or array.ndim < 2 or array.size < LEAST:
            found[name] = array
            continue
        if wanted == Compression():
            found[name] = array
            continue
        if array.shape[-1] == array.shape[-2]:
            place = np.arange(array.shape[-1])
            found[f"{name}@diagonal"] = array[..., place, place]
            array = array.copy()
            array[..., place, place] = 0
        kept = math.ceil(wanted.keep * array.shape[-1])
        if kept < array.shape[-1]:
            place = _largest(array, kept)
            narrow = array.shape[-1] <= 1 << 16
            found[f"{name}@place"] = place.astype(np.uint16 if narrow else np.int32)
            found[f"{name}@width"] = np.array([array.shape[-1]])
            array = np.take_along_axis(array, place, -1)
        if wanted.precision == "bfloat16":
            found[f"{name}@bfloat16"] = _upper(array)
        elif wanted.precision == "int8":
            found[f"{name}@int8"], found[f"{name}@scale"] = _int8(array)
        else:
            found[f"{name}@float32"] = array
    return found


def expand(arrays: "Arrays") -> "Arrays":
    """Arrays as a candidate knows them, in float32."""
    found: Arrays = {}
    for stored, array in arrays.items():
        name, _, form = stored.rpartition("@")
        if form == "bfloat16":
            found[name] = (array.astype(np.uint32) << 16).view(np.float32)
        elif form == "int8":
            found[name] = array.astype(np.float32) * arrays[f"{name}@scale"]
        elif form == "float32":
            found[name] = array
        elif form not in ("scale", "diagonal", "place", "width"):
            found[stored] = array
    for stored, array in arrays.items():
        name, _, form = stored.rpartition("@")
        if form == "place":
            whole = np.zeros((*array.shape[:-1], int(arrays[f"{name}@width"][0])), np.float32)
            np.put_along_axis(whole, array.astype(np.int64), found[name], -1)
            found[name] = whole
    for stored, array in arrays.items():
        name, _, form = stored.rpartition("@")
        if form == "diagonal":
            place = np.arange(array.shape[-1])
            found[name][..., place, place] = array
    return found


def _largest(array: Floats, kept: int) -> NDArray[np.int64]:
    """Places of the `kept` largest magnitudes of each row, rising; of equal ones the first."""
    order = np.argsort(-np.abs(array), axis=-1, kind="stable")
    return np.sort(order[..., :kept], axis=-1)


def _upper(array: Floats) -> NDArray[np.uint16]:
    """bfloat16 bits, rounded to the nearest, ties to even."""
    bits = np.ascontiguousarray(array).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _int8(array: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Numbers from -127 to 127, and the scale of each row (..., 1)."""
    scale = np.abs(array).max(axis=-1, keepdims=True) / np.float32(127)
    # 16 significant bits, rounded up: then 127 * scale is exact, and gives the same scale again
    bits = np.ascontiguousarray(scale, dtype=np.float32).view(np.uint32)
    scale = ((bits + np.uint32(0xFF)) & np.uint32(0xFFFFFF00)).view(np.float32)
    divisor = np.where(scale > 0, scale, np.float32(1))
    return np.clip(np.rint(array / divisor), -127, 127).astype(np.int8), scale
