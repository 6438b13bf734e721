"""The lean forward pass: transformers' bits, and only where the model is a BERT."""

from typing import Any

import pytest
import torch
from transformers import (
    AutoModel,
    BertConfig,
    DistilBertConfig,
    MPNetConfig,
    PretrainedConfig,
    RobertaConfig,
)

from bridgerec.config import Encoder
from bridgerec.encoders.bert import lean_forward
from bridgerec.encoders.processor import has_int8
from bridgerec.encoders.text import TextEncoder

INT8 = pytest.mark.skipif(not has_int8(), reason="this processor has no 8-bit products")
SMALL: dict[str, Any] = {
    "vocab_size": 90,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}


def _model(config: PretrainedConfig) -> Any:
    torch.manual_seed(0)
    return AutoModel.from_config(config).eval()


@pytest.mark.parametrize("precision", ["float32", "bfloat16", pytest.param("int8", marks=INT8)])
def test_the_default_model_takes_it_and_keeps_its_bits(precision: str) -> None:
    encoder = TextEncoder(Encoder.model_validate({"precision": precision, "device": "cpu"}))
    encoder.loaded()
    lean = encoder._hidden
    for shape in ((1, 40), (17, 9), (64, 18), (3, 96)):
        ids = torch.randint(1000, 30000, shape)
        with encoder._computing():
            expected = encoder._transformers(ids)
            found = lean(ids)
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)
    assert lean != encoder._transformers


@pytest.mark.parametrize("config", [RobertaConfig(**SMALL), BertConfig(**SMALL, hidden_act="relu")])
@torch.inference_mode()
def test_relatives_of_bert_take_it(config: PretrainedConfig) -> None:
    model = _model(config)
    lean = lean_forward(model)
    ids = torch.randint(90, (6, 11))
    assert lean is not None
    assert torch.equal(lean(ids), model(input_ids=ids)[0])


@pytest.mark.parametrize(
    "config",
    [
        DistilBertConfig(vocab_size=90, dim=32, n_layers=1, n_heads=4, hidden_dim=48),
        MPNetConfig(**SMALL),
        BertConfig(**SMALL, is_decoder=True),  # the same layers, but nobody looks ahead
    ],
)
@torch.inference_mode()
def test_other_models_do_not(config: PretrainedConfig) -> None:
    assert lean_forward(_model(config)) is None
