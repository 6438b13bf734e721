"""A ranked list between the model's scores and the answer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ranked:
    """`items` (n,) global item indices, best first; `scores` (n,); `moved`: what rules did;
    `failed`: rules that could not, by name, and why."""

    items: NDArray[np.int64]
    scores: NDArray[np.float32]
    moved: tuple[dict[str, Any], ...] = ()
    failed: tuple[tuple[str, Exception], ...] = ()
