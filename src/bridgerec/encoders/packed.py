"""Dense layers in bfloat16, their weights kept in the order that oneDNN's kernels read.

PyTorch hands oneDNN every weight as it is stored, and oneDNN reorders it again for every batch: a
tenth of the time of a product.  Reordered once, the products have the same bits (a test holds it).
"""

from functools import partial

import torch

from bridgerec.encoders.processor import has_bfloat16


def round_dense(model: torch.nn.Module) -> None:
    """Round the weights of all dense layers to bfloat16, in place, and reorder them where oneDNN
    has native products of bfloat16 for this processor.

    autocast would round them again for every batch, to the same bits; all else stays as it is.
    """
    ready = _can_pack()
    for layer in model.modules():
        if type(layer) is torch.nn.Linear:
            layer.to(torch.bfloat16)
            if ready and layer.weight.device.type == "cpu":
                packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
                layer.forward = partial(_product, packed, layer.bias)  # type: ignore[method-assign]


def _can_pack() -> bool:
    # what torch.compile makes of a dense layer; PyTorch gives it no public name
    names = ("_reorder_linear_weight", "_linear_pointwise")
    there = torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.mkldnn, n) for n in names
    )
    return there and has_bfloat16()


def _product(packed: torch.Tensor, bias: torch.Tensor | None, inputs: torch.Tensor) -> torch.Tensor:
    """(…, inputs) to (…, outputs), bfloat16, as autocast gives it."""
    rounded = inputs.to(torch.bfloat16)
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rounded, packed, bias, "none", [], "")
    return found
