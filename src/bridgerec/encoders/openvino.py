"""The same model, run by OpenVINO on a processor (`embed.text.backend: openvino`).

The transformers model is traced in memory once it is loaded, so no other file and no hub is
needed.  In float32 a text's vector is the same to the last bit whichever texts are embedded with
it, as with PyTorch (a test holds it); in bfloat16 that depends on OpenVINO's kernels for the
processor.
"""

import sys
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
from numpy.typing import NDArray

from bridgerec.errors import ConfigError

Floats = NDArray[np.float32]
Pool = Callable[[torch.Tensor], torch.Tensor]


def require_openvino() -> None:
    """Refuse early where the extra is missing.

    Raises:
        ConfigError: OpenVINO is not installed.
    """
    try:
        version("openvino")
    except PackageNotFoundError as error:
        raise ConfigError(
            "embed.text.backend is openvino, but OpenVINO is not installed. Run "
            "pip install 'bridgerec[openvino]', or write torch."
        ) from error


class _Vectors(torch.nn.Module):
    """Token ids of one length to unit vectors, with the pooling inside the graph."""

    def __init__(self, model: torch.nn.Module, pool: Pool) -> None:
        super().__init__()
        self.model, self.pool = model, pool

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.model(input_ids=ids, attention_mask=torch.ones_like(ids))[0]
        return torch.nn.functional.normalize(self.pool(hidden), dim=1)


class Compiled:
    """A transformers model compiled for this processor; called with texts of one length.

    Raises:
        ConfigError: the processor lacks the precision, or the model cannot be converted.
    """

    def __init__(self, model: torch.nn.Module, pool: Pool, precision: str, length: int) -> None:
        # openvino reports its import and each conversion over the network unless this package is
        # missing; an embedding run reports to nobody
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino

        hint = openvino.Type.bf16 if precision == "bfloat16" else openvino.Type.f32
        options = {
            "INFERENCE_PRECISION_HINT": hint,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",  # all threads on one batch
            "ENABLE_CPU_PINNING": False,  # two runs would sit on the same core
        }
        wanted = _Vectors(model, pool).eval()
        small, other = (_ids(model, n) for n in (min(length, 7), min(length, 24)))
        try:
            compiled = openvino.Core().compile_model(_convert(wanted, small), "CPU", options)
        except RuntimeError as error:
            raise ConfigError(
                f"embed.text.backend: OpenVINO cannot convert this model ({error}). Write torch."
            ) from error
        # without the instructions it would compute in float32 and say nothing
        if compiled.get_property("INFERENCE_PRECISION_HINT") != hint:
            raise ConfigError(
                f"embed.text.precision is {precision}, which OpenVINO does not have on this "
                "processor. Write auto or float32."
            )
        self._request = compiled.create_infer_request()
        # a trace keeps what Python decided for its example: see whether it holds at other lengths
        with torch.inference_mode():
            cosine = (wanted(other).numpy() * self(other.tolist())).sum(1)
        if not cosine.min() > 0.999:
            raise ConfigError(
                "embed.text.backend: OpenVINO's conversion of this model gives other vectors than "
                f"PyTorch (cosine {cosine.min():.3f}). Write torch."
            )

    def __call__(self, batch: list[list[int]]) -> Floats:
        ids = np.array(batch, dtype=np.int64)
        found = self._request.infer([ids], share_inputs=True)[0]
        return np.array(found, dtype=np.float32)  # a copy: the next call writes over it


def _ids(model: torch.nn.Module, length: int) -> torch.Tensor:
    """Two rows of that many different tokens."""
    vocabulary = model.get_input_embeddings().num_embeddings  # type: ignore[operator]
    return (torch.arange(2 * length).reshape(2, length) + 5) % vocabulary


def _convert(module: torch.nn.Module, example: torch.Tensor) -> object:
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()  # the tracer reads every attribute, also those that warn
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the tracer's doubts, which the comparison above settles
        traced = torch.jit.trace(module, example, check_trace=False)
    logging.set_verbosity(before)
    decoder = TorchScriptPythonDecoder(traced)  # must live until the conversion is done
    frontend = FrontEndManager().load_by_framework("pytorch")
    return frontend.convert(frontend.load(decoder))
