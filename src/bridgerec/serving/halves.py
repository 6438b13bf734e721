"""Products with rows that are kept in half precision, without a copy of them in float32.

Numpy turns halves into floats one at a time.  Here the bits of a block are moved to where float32
has them, sign, exponent and mantissa at once: that is the number times 2^-112, as float32 counts
its exponents from another end.  The other side of the product is multiplied by 2^112, which is
exact.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
BLOCK = 256  # rows at a time: they stay in the processor's cache
PLACES = 13  # bits that float32 has more of a mantissa
KEPT = np.int32(-(2**31) + 2**28 - 2**13)  # the sign, and all that was moved but copies of it
SCALE = np.float32(2.0**112)


def products(rows: NDArray[np.float16], vector: Floats) -> Floats:
    """rows (n, size) @ vector (size,), as if the rows were float32; finite rows alone."""
    found = np.empty(len(rows), dtype=np.float32)
    bits, scaled = rows.view(np.int16), vector * SCALE
    moved = np.empty((min(BLOCK, len(rows)), len(vector)), dtype=np.int32)
    for start in range(0, len(rows), BLOCK):
        part = bits[start : start + BLOCK]
        block = moved[: len(part)]
        np.left_shift(part, PLACES, out=block, dtype=np.int32)
        block &= KEPT
        np.dot(block.view(np.float32), scaled, out=found[start : start + BLOCK])
    return found
