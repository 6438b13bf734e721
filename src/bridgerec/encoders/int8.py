"""Dense layers as products of 8-bit integers, which a processor makes twice as fast as bfloat16.

Weights have a scale per output.  Activations are rounded on the fly, each token with a scale and
an offset of its own (ZeroQuant, Yao et al. 2022, arXiv:2206.01861), so that no text's vector
depends on its neighbours.  The offset is for values that lie on one side of zero: those behind a
GELU, and the few large ones that language models keep.  Sums are exact, in 32-bit integers; all
that is no dense layer stays in float32.  A processor without such products multiplies the same
integers in float32: slower, and equal up to the rounding of float32.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch.nn import Linear

from bridgerec.encoders.processor import has_int8

METHOD = "2"  # changes where the same text would get another vector
MOST_TOKENS = 2048  # of a batch: larger arrays of float32 only leave the cache of the processor
LEVELS = 127  # on both sides of zero
ZERO = 128  # as an unsigned number
TINY = 1e-12  # instead of the scale of a row of equal numbers
# names that models give to layers of the same input, which is then rounded once
SIBLINGS = (("query", "key", "value"), ("q_proj", "k_proj", "v_proj"), ("q_lin", "k_lin", "v_lin"))

Product = Callable[[torch.Tensor], torch.Tensor]


def quantise_dense(model: torch.nn.Module) -> None:
    """Let all dense layers compute in 8 bits, in place."""
    for module in model.modules():
        dense = {name: part for name, part in module.named_children() if type(part) is Linear}
        for names in SIBLINGS:
            if all(name in dense for name in names):
                layers = [dense.pop(name) for name in names]
                together = Together(layers)
                for place, layer in enumerate(layers):
                    layer.forward = partial(together, place)  # type: ignore[method-assign]
        for layer in dense.values():
            layer.forward = Quantised([layer])  # type: ignore[assignment,method-assign]


class Quantised:
    """Dense layers side by side; called with float32 (…, inputs) it gives float32 (…, outputs)."""

    def __init__(self, layers: Sequence[Linear]) -> None:
        weight = torch.cat([layer.weight.detach().float() for layer in layers])
        scale = weight.abs().amax(1).clamp_min_(TINY).div_(LEVELS)
        rounded = (weight / scale[:, None]).round_()
        self.product = (_fast_product if has_products() else _slow_product)(rounded, scale)
        self.total = rounded.sum(1) * scale  # what an offset of 1 adds
        self.bias = torch.cat([_bias(layer) for layer in layers])

    def __call__(self, inputs: torch.Tensor, spoil: bool = False) -> torch.Tensor:
        """`spoil` allows to write over `inputs`, one array less in the processor's cache."""
        rows = inputs.reshape(-1, inputs.shape[-1]).float()
        low, high = rows.amin(1, keepdim=True), rows.amax(1, keepdim=True)
        offset, scale = (high + low) / 2, ((high - low) / (2 * LEVELS)).clamp_min_(TINY)
        # every operation is a pass over memory
        centred = rows.sub_ if spoil else rows.sub
        found = self.product(centred(offset).mul_(1 / scale).round_())
        torch.addcmul(self.bias, found, scale, out=found).addcmul_(offset, self.total)
        return found.view(*inputs.shape[:-1], -1)


def has_products() -> bool:
    """Whether this processor and this PyTorch multiply 8-bit integers faster than float32."""
    # what torch.compile makes of a quantised layer; PyTorch gives it no public name
    names = ("qlinear_prepack", "qlinear_pointwise")
    there = torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.onednn, n) for n in names
    )
    return there and has_int8()


def _fast_product(weight: torch.Tensor, scale: torch.Tensor) -> Product:
    """Products with integers `weight` (outputs, inputs), each output times its `scale`: exact sums
    of integers, turned into float32 while they are in the processor's registers."""
    packed = torch.ops.onednn.qlinear_prepack(weight.to(torch.int8), None)
    zeros = torch.zeros(len(weight), dtype=torch.int32)

    def product(rounded: torch.Tensor) -> torch.Tensor:
        # unsigned is what the processor multiplies; the conversion to int8 and the flip of a bit
        # take a fifth of the time of one to uint8
        unsigned = rounded.to(torch.int8).view(torch.uint8).bitwise_xor_(ZERO)
        del rounded  # its memory is for the product
        found: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            *(unsigned, 1.0, ZERO, packed, scale, zeros, None),
            *(1.0, 0, torch.float32, "none", [], ""),
        )
        return found

    return product


def _slow_product(weight: torch.Tensor, scale: torch.Tensor) -> Product:
    """The same in float32: equal up to the rounding of sums of many million."""
    return lambda rounded: (rounded @ weight.T).mul_(scale)


def _bias(layer: Linear) -> torch.Tensor:
    return torch.zeros(layer.out_features) if layer.bias is None else layer.bias.detach().float()


class Together:
    """Layers of the same input: who is called first computes for all, and each thread remembers
    what the others will ask for, no longer than they need."""

    def __init__(self, layers: Sequence[Linear]) -> None:
        self.product = Quantised(layers)
        self.sizes = [layer.out_features for layer in layers]
        self.last = threading.local()

    def __call__(self, place: int, inputs: torch.Tensor) -> torch.Tensor:
        known = getattr(self.last, "inputs", None) is inputs and place in self.last.found
        if not known:
            self.last.found = dict(enumerate(self.product(inputs).split(self.sizes, -1)))
        found: torch.Tensor = self.last.found.pop(place)
        self.last.inputs = inputs if self.last.found else None
        return found
