"""What is done to scores of different models before they are added."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def standardised(scores: Floats) -> Floats:
    """Each row with mean 0 and deviation 1; a constant row becomes zeros."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 1e-12)
