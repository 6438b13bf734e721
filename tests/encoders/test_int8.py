"""Dense layers in 8 bits: close to float32, the same in any company, slower where impossible."""

import numpy as np
import pytest
import torch

from bridgerec.config import Encoder
from bridgerec.encoders.int8 import Quantised, quantise_dense
from bridgerec.encoders.processor import has_int8
from bridgerec.encoders.text import TextEncoder, _runs

TEXTS = ["a red teapot", "一本关于茶的书", "x", "the history of green tea in old cities " * 9]
here = pytest.mark.skipif(not has_int8(), reason="this processor has no 8-bit products")


@pytest.fixture
def layer() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(100, 70)


@here
def test_the_product_is_that_of_the_rounded_numbers(layer: torch.nn.Linear) -> None:
    inputs = torch.randn(3, 5, 100) + 4 * torch.rand(3, 5, 1)
    inputs[0, 0, 7] = 90.0  # one large value costs its own token's accuracy alone
    low, high = inputs.amin(-1, keepdim=True).double(), inputs.amax(-1, keepdim=True).double()
    offset, step = (high + low) / 2, (high - low) / 254
    rounded = ((inputs - offset) / step).round() * step + offset
    weight = layer.weight.detach().double()
    scale = weight.abs().amax(1, keepdim=True) / 127
    expected = rounded @ ((weight / scale).round() * scale).T + layer.bias.detach()
    with torch.inference_mode():
        found = Quantised([layer])(inputs)
    assert found.dtype == torch.float32
    # a number between two steps may fall to either side in float32
    far = (found - expected).abs() > step * weight.abs().max() + 1e-4
    assert found.shape == (3, 5, 70)
    assert not far.any()
    plain = layer(inputs).detach()
    assert torch.nn.functional.cosine_similarity(found[1:], plain[1:], dim=-1).min() > 0.999


@here
def test_rows_of_equal_numbers_and_layers_without_bias_are_exact() -> None:
    layer = torch.nn.Linear(64, 8, bias=False)
    inputs = torch.stack([torch.zeros(64), torch.full((64,), 2.5)])
    with torch.inference_mode():
        found = Quantised([layer])(inputs)
    assert not found[0].any()
    torch.testing.assert_close(found[1], layer(inputs)[1].detach(), rtol=0, atol=0.02)


class _Attention(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (torch.nn.Linear(32, n) for n in (32, 32, 16))
        self.out = torch.nn.Linear(16, 4)


@here
def test_layers_of_the_same_input_compute_together_what_each_would_alone() -> None:
    torch.manual_seed(0)
    plain, model = _Attention(), _Attention()
    model.load_state_dict(plain.state_dict())
    quantise_dense(model)
    one, other = torch.randn(4, 32), torch.randn(6, 32)
    with torch.inference_mode():
        for name in ("value", "query", "key"):  # in any order, of one input or of several
            alone = Quantised([getattr(plain, name)])
            for inputs in (one, other, one):
                torch.testing.assert_close(getattr(model, name)(inputs), alone(inputs))
    assert isinstance(vars(model.out)["forward"], Quantised)


@here
def test_vectors_are_near_those_of_float32() -> None:
    int8, float32 = (TextEncoder(Encoder(device="cpu", precision=p)) for p in ("int8", "float32"))
    cosine = (int8.encode(TEXTS) * float32.encode(TEXTS)).sum(1)
    assert 0.99 < cosine.min() < 0.999999  # closer would not be 8 bits
    assert int8.precision == "int8"


def test_batches_hold_no_more_tokens_than_allowed() -> None:
    tokens = [[0] * 300] * 3 + [[0] * 20] * 60
    sizes = [len(batch) for batch in _runs(tokens, 50, 512)]
    assert sizes == [1, 1, 1, 25, 25, 10]
    assert [len(batch) for batch in _runs(tokens, 50, None)] == [3, 50, 10]


@here
@pytest.mark.parametrize("missing", ["instructions", "operation"])
def test_elsewhere_the_same_integers_are_multiplied_in_float32(
    layer: torch.nn.Linear, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = torch.randn(40, 100) + 4 * torch.rand(40, 1)
    fast = TextEncoder(Encoder(device="cpu", precision="int8"))
    with torch.inference_mode():
        expected = Quantised([layer])(inputs)
    vectors = fast.encode(TEXTS)
    if missing == "instructions":
        monkeypatch.setattr("bridgerec.encoders.int8.has_int8", lambda: False)
    else:
        monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: False)
    slow = TextEncoder(Encoder(device="cpu", precision="int8"))
    with torch.inference_mode():
        torch.testing.assert_close(Quantised([layer])(inputs), expected, rtol=1e-5, atol=1e-5)
    # a number between two steps may fall to either side in a later layer
    assert (slow.encode(TEXTS) * vectors).sum(1).min() > 0.9999
    assert slow.fingerprint == fast.fingerprint


def test_int8_computes_where_the_processor_has_no_such_products(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridgerec.encoders.int8.has_int8", lambda: False)
    int8, float32 = (TextEncoder(Encoder(device="cpu", precision=p)) for p in ("int8", "float32"))
    vectors = int8.encode(TEXTS)
    assert 0.99 < (vectors * float32.encode(TEXTS)).sum(1).min() < 0.999999
    alone = np.concatenate([int8.encode([text]) for text in TEXTS])
    np.testing.assert_array_equal(vectors, alone)


def test_int8_is_no_gpu_s_and_no_other_backend_s() -> None:
    for wrong in ({"device": "cuda"}, {"backend": "openvino"}):
        with pytest.raises(ValueError, match="precision int8"):
            Encoder.model_validate({"precision": "int8", **wrong})


def test_int8_runs_on_the_processor_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    encoder = TextEncoder(Encoder(precision="int8"))
    assert encoder.device == "cpu"
    np.testing.assert_equal(encoder.precision, "int8")


@here
def test_inputs_are_written_over_only_where_allowed(layer: torch.nn.Linear) -> None:
    inputs = torch.randn(4, 100)
    kept, product = inputs.clone(), Quantised([layer])
    with torch.inference_mode():
        found = product(inputs)
        assert torch.equal(inputs, kept)
        assert torch.equal(product(inputs, spoil=True), found)
    assert not torch.equal(inputs, kept)
