"""Mixed precision while training: matrix products in bfloat16, sums and updates in float32."""

from typing import Literal

import torch

from bridgerec.encoders.processor import has_bfloat16

Precision = Literal["auto", "float32", "bfloat16"]


def mixed_precision(precision: Precision) -> torch.autocast:
    """The context of a forward pass; `auto` is bfloat16 where the processor multiplies it.

    By the processor's features and never by timing, so that a run repeats on the same machine
    (Micikevicius et al., Mixed Precision Training, ICLR 2018; bfloat16 needs no loss scaling).
    """
    enabled = has_bfloat16() if precision == "auto" else precision == "bfloat16"
    return torch.autocast("cpu", torch.bfloat16, enabled=enabled)
