"""Where models learn: on the processor, or on a CUDA device."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

from bridgerec.errors import ConfigError
from bridgerec.training.repeatable import repeatable


def training_device(wanted: Literal["auto", "cpu", "cuda"]) -> str:
    """What `train.device` means on this machine: "cpu" or "cuda".

    Raises:
        ConfigError: cuda is asked for and there is none.
    """
    if wanted == "cpu":
        return wanted  # PyTorch takes seconds to import, and many candidates do without
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "auto":
        return "cpu"
    raise ConfigError(
        "train.device is cuda, but PyTorch finds no CUDA device on this machine. "
        "Write auto or cpu, or install a PyTorch built for CUDA and its driver."
    )


@contextmanager
def learning(device: str, seed: int) -> Iterator[None]:
    """New tensors (also `torch.as_tensor` of an array) lie on `device`, all random numbers come
    from `seed`, and a repeat gives the same bytes."""
    import torch

    # to name the processor, which is the default, would cost some microseconds per operation
    there = nullcontext() if device == "cpu" else torch.device(device)
    with torch.random.fork_rng(), repeatable(), there:
        torch.manual_seed(seed)
        yield
