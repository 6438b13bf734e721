"""Mixed precision while training: matrix products in bfloat16, sums and updates in float32."""

from typing import Literal

import torch

from bridgerec.encoders.processor import has_bfloat16

Precision = Literal["auto", "float32", "bfloat16"]


def mixed_precision(precision: Precision) -> torch.autocast:
    """The context of a forward pass on the default device; `auto` is bfloat16 where it multiplies
    that natively.

    By the device's features and never by timing, so that a run repeats on the same machine
    (Micikevicius et al., Mixed Precision Training, ICLR 2018; bfloat16 needs no loss scaling).
    """
    device = torch.get_default_device().type
    fast = torch.cuda.is_bf16_supported if device == "cuda" else has_bfloat16
    enabled = fast() if precision == "auto" else precision == "bfloat16"
    return torch.autocast(device, torch.bfloat16, enabled=enabled)
