"""The OpenVINO backend against PyTorch; without the extra, and without the precision."""

import sys
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec

import numpy as np
import pytest
from pydantic import ValidationError

from bridgerec.config import Encoder
from bridgerec.encoders.text import TextEncoder
from bridgerec.errors import ConfigError

TEXTS = ["a red teapot", "一本关于茶的书", "x", "the history of green tea in old cities " * 9]
needs_openvino = pytest.mark.skipif(
    find_spec("openvino") is None,
    reason="OpenVINO is not installed: pip install 'bridgerec[openvino]'",
)


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder(Encoder(backend="openvino", precision="float32"))


@needs_openvino
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_vectors_equal_those_of_torch(pooling: str) -> None:
    config = {"pooling": pooling, "precision": "float32", "prefix": "query: ", "device": "cpu"}
    found, expected = (
        TextEncoder(Encoder.model_validate({**config, "backend": backend})).encode([*TEXTS, ""])
        for backend in ("openvino", "torch")
    )
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert not found[-1].any()


@needs_openvino
def test_a_vector_does_not_depend_on_its_company(encoder: TextEncoder) -> None:
    names = ("green", "tea", "old", "pot", "city", "book", "of", "small", "blue")
    texts = [" ".join(names[: 1 + n % 9]) + f" {n}" for n in range(40)] + TEXTS
    together = encoder.encode(texts)
    np.testing.assert_array_equal(encoder.encode(texts), together)
    for i, text in enumerate(texts):
        np.testing.assert_array_equal(encoder.encode([text])[0], together[i])


@needs_openvino
def test_nothing_is_reported_over_the_network(encoder: TextEncoder) -> None:
    encoder.encode(TEXTS[:1])
    from openvino.tools.ovc import telemetry_utils

    assert sys.modules["openvino_telemetry"] is None
    assert telemetry_utils.tm.__name__.endswith("telemetry_stub")


@needs_openvino
def test_a_precision_that_the_processor_lacks_is_refused() -> None:
    import openvino

    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        found = TextEncoder(Encoder(backend="openvino", precision="bfloat16")).encode(TEXTS)
        expected = TextEncoder(Encoder(precision="float32", device="cpu")).encode(TEXTS)
        assert (found * expected).sum(1).min() > 0.999
    else:
        with pytest.raises(ConfigError, match="does not have on this processor"):
            TextEncoder(Encoder(backend="openvino", precision="bfloat16")).encode(TEXTS)


@needs_openvino
def test_a_conversion_that_changes_the_vectors_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from bridgerec.encoders import openvino as module

    class Lengthwise(module._Vectors):
        def forward(self, ids):  # a decision in Python, which a trace freezes
            found = super().forward(ids)
            return found if ids.shape[1] == 7 else -found

    monkeypatch.setattr(module, "_Vectors", Lengthwise)
    with pytest.raises(ConfigError, match="other vectors than PyTorch"):
        TextEncoder(Encoder(backend="openvino", precision="float32")).encode(TEXTS)


@needs_openvino
def test_the_fingerprint_knows_the_backend_and_its_version(
    encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bridgerec.encoders import text

    prints = {encoder.fingerprint}
    prints.add(TextEncoder(Encoder(precision="float32", device="cpu")).fingerprint)
    original = text.version
    newer = {"openvino": "9999.0"}
    monkeypatch.setattr(text, "version", lambda name: newer.get(name) or original(name))
    prints.add(encoder.fingerprint)
    assert len(prints) == 3


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("bridgerec.encoders.openvino.version", missing)
    with pytest.raises(ConfigError, match=r"pip install 'bridgerec\[openvino\]'"):
        TextEncoder(Encoder(backend="openvino"))


def test_openvino_runs_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="write device auto or cpu"):
        Encoder(backend="openvino", device="cuda")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("bridgerec.encoders.openvino.version", lambda name: "0")
    assert TextEncoder(Encoder(backend="openvino")).device == "cpu"
