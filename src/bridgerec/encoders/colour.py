"""Vectors of images without any weights: which colours, where, and which way edges run.

Enough to tell products and covers of different looks apart, not what they show: for that name a
pretrained model.  Four parts of equal length: shares of 64 colours in the whole image and in its
middle (Swain & Ballard 1991, in the square root, so that their products are Hellinger's affinity),
mean colours of 16 cells, and edges of 8 directions in each cell (Dalal & Triggs 2005).
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Floats = NDArray[np.float32]
SIDE, CELLS, LEVELS, DIRECTIONS = 64, 4, 4, 8
METHOD = "colour 1"  # a new number whenever the same image would get another vector


class Colour:
    """An `encoders.vision.Backend`; its vectors have 304 numbers."""

    fingerprint = hashlib.sha256(METHOD.encode()).hexdigest()

    def __call__(self, images: Sequence["Image"]) -> Floats:
        return np.stack([describe(image) for image in images])


def describe(image: "Image") -> Floats:
    """The vector of an RGB image, (304,)."""
    from PIL.Image import Resampling

    small = image.resize((SIDE, SIDE), Resampling.BOX)
    pixels = np.asarray(small, dtype=np.float64) / 255
    edge = SIDE // 4
    middle = pixels[edge:-edge, edge:-edge]
    parts = [_shares(pixels), _shares(middle), _cells(pixels - 0.5), np.sqrt(_edges(pixels))]
    lengths = [max(float(np.linalg.norm(part)), 1e-9) for part in parts]
    unit = [part / length for part, length in zip(parts, lengths, strict=True)]
    return np.concatenate(unit).astype(np.float32)


def _shares(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Square roots of the shares of LEVELS ** 3 colours, (64,)."""
    level = np.minimum((pixels * LEVELS).astype(np.int64), LEVELS - 1)
    colour = (level[..., 0] * LEVELS + level[..., 1]) * LEVELS + level[..., 2]
    found: NDArray[np.float64] = np.sqrt(np.bincount(colour.ravel(), minlength=LEVELS**3))
    return found


def _cells(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over CELLS x CELLS cells of (side, side, channels), flat."""
    step = values.shape[0] // CELLS
    blocks = values.reshape(CELLS, step, CELLS, step, -1)
    means: NDArray[np.float64] = blocks.mean((1, 3)).ravel()
    return means


def _edges(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """How strong the edges of each direction are in each cell, (CELLS * CELLS * DIRECTIONS,)."""
    down, right = np.gradient(pixels.mean(2))
    turn = np.arctan2(down, right) % np.pi / np.pi  # an edge has no sign
    direction = np.round(turn * DIRECTIONS).astype(np.int64) % DIRECTIONS
    strength = np.hypot(down, right)
    return _cells(strength[..., None] * (direction[..., None] == np.arange(DIRECTIONS)))
