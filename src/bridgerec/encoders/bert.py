"""BERT's forward pass with the bits of transformers' own and less between its dense layers.

No mask (nothing is padded), no pooler, and GELU, the sums and the rounding to 8 bits write over
what nobody reads again: every further array of a batch drives another out of the processor's cache.
For all models whose layers are BERT's, as those of RoBERTa, XLM-R and ELECTRA are.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from bridgerec.encoders.int8 import Quantised

Forward = Callable[[torch.Tensor], torch.Tensor]
EXAMPLE = (5, 8)  # texts and tokens


def lean_forward(model: Any) -> Forward | None:
    """Token ids (batch, length) to hidden states (batch, length, size), by calling the model's
    dense layers as they are, in any precision; None where the model is no BERT: has other parts,
    or gives other bits for an example."""
    count = EXAMPLE[0] * EXAMPLE[1]
    ids = (31 * torch.arange(count) + 5) % model.get_input_embeddings().num_embeddings
    ids = ids.view(EXAMPLE)
    try:
        found = _forward(model, ids)
    except (AttributeError, TypeError):
        return None
    return partial(_forward, model) if torch.equal(found, model(input_ids=ids)[0]) else None


def _forward(model: Any, ids: torch.Tensor) -> torch.Tensor:
    hidden: torch.Tensor = model.embeddings(input_ids=ids)
    for layer in model.encoder.layer:
        # of the arrays only `hidden` has a name: what has one lives until the next layer
        attention = layer.attention
        hidden = _added(attention.output, _attended(attention.self, hidden), hidden)
        hidden = _added(layer.output, _activated(layer.intermediate, hidden), hidden)
    return hidden


def _attended(attention: Any, hidden: torch.Tensor) -> torch.Tensor:
    heads = (*hidden.shape[:-1], -1, attention.attention_head_size)
    dense = (attention.query, attention.key, attention.value)
    query, key, value = (layer(hidden).view(heads).transpose(1, 2) for layer in dense)
    found = functional.scaled_dot_product_attention(query, key, value, scale=attention.scaling)
    return found.transpose(1, 2).flatten(2)


def _activated(intermediate: Any, hidden: torch.Tensor) -> torch.Tensor:
    activation = intermediate.intermediate_act_fn
    if getattr(activation, "act", None) is functional.gelu:
        activation = torch.ops.aten.gelu_
    found: torch.Tensor = activation(intermediate.dense(hidden))
    return found


def _added(output: Any, inner: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """The norm of `hidden` and what `output` makes of `inner`, which is lost."""
    forward = output.dense.forward
    found = forward(inner, spoil=True) if isinstance(forward, Quantised) else output.dense(inner)
    del inner
    # bfloat16 and float32 give float32
    total = found.add_(hidden) if found.dtype == hidden.dtype else found + hidden
    normal: torch.Tensor = output.LayerNorm(total)
    return normal
