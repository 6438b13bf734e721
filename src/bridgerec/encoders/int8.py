"""Dense layers as products of 8-bit integers, which a processor makes twice as fast as bfloat16.

Weights have a scale per output.  Activations are rounded on the fly, each token with a scale and
an offset of its own (ZeroQuant, Yao et al. 2022, arXiv:2206.01861), so that no text's vector
depends on its neighbours.  The offset is for values that lie on one side of zero: those behind a
GELU, and the few large ones that language models keep.  Sums are exact, in 32-bit integers; all
that is no dense layer stays in float32.
"""

import threading
from collections.abc import Sequence
from functools import partial

import torch
from torch.nn import Linear

from bridgerec.encoders.processor import has_int8
from bridgerec.errors import ConfigError

MOST_TOKENS = 2048  # of a batch: larger arrays of float32 only leave the cache of the processor
LEVELS = 127  # on both sides of zero
TINY = 1e-12  # instead of the scale of a row of equal numbers
# names that models give to layers of the same input, which is then rounded once
SIBLINGS = (("query", "key", "value"), ("q_proj", "k_proj", "v_proj"), ("q_lin", "k_lin", "v_lin"))


def require_int8() -> None:
    """Refuse early where such products would be slow or, with 16-bit sums on the way, wrong.

    Raises:
        ConfigError: the processor or this PyTorch has no such products.
    """
    if not has_int8():
        raise ConfigError(
            "embed.text.precision is int8, but this processor has no instructions for products of "
            "8-bit integers (avx512_vnni, amx_int8). Write auto or float32."
        )
    if not hasattr(torch, "_int_mm") or not torch.backends.mkldnn.is_available():
        raise ConfigError(
            f"embed.text.precision is int8, but PyTorch {torch.__version__} has no such products "
            "for processors. Write auto, or install the version that constraints.txt names."
        )


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
        self.scale = weight.abs().amax(1).clamp_min_(TINY).div_(LEVELS)
        self.weight = (weight / self.scale[:, None]).round_().to(torch.int8).T.contiguous()
        totals = self.weight.sum(0, dtype=torch.int32) * self.scale  # what an offset of 1 adds
        self.added = torch.stack([totals, torch.cat([_bias(layer) for layer in layers])])

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        rows = inputs.reshape(-1, inputs.shape[-1]).float()
        low, high = rows.amin(1, keepdim=True), rows.amax(1, keepdim=True)
        offset, scale = (high + low) / 2, ((high - low) / (2 * LEVELS)).clamp_min_(TINY)
        rounded = (rows - offset).mul_(1 / scale).round_().to(torch.int8)
        # every operation is a pass over memory: in place, and offset and bias as one product
        found = torch._int_mm(rounded, self.weight).float().mul_(self.scale).mul_(scale)
        found.addmm_(torch.cat([offset, torch.ones_like(offset)], 1), self.added)
        return found.view(*inputs.shape[:-1], -1)


def _bias(layer: Linear) -> torch.Tensor:
    return torch.zeros(layer.out_features) if layer.bias is None else layer.bias.detach().float()


class Together:
    """Layers of the same input: who is called first computes for all, and each thread remembers
    what the others will ask for."""

    def __init__(self, layers: Sequence[Linear]) -> None:
        self.product = Quantised(layers)
        self.sizes = [layer.out_features for layer in layers]
        self.last = threading.local()

    def __call__(self, place: int, inputs: torch.Tensor) -> torch.Tensor:
        if getattr(self.last, "inputs", None) is not inputs:
            self.last.found = self.product(inputs).split(self.sizes, -1)
            self.last.inputs = inputs
        found: torch.Tensor = self.last.found[place]
        return found
