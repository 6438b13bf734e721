"""Training that gives the same bytes again."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def repeatable() -> Iterator[None]:
    """Only deterministic torch operations inside the block.

    Without it the gradient of an indexing adds from several threads in any order, also on a
    processor, so that now and then the last bits of a run differ.
    """
    import torch

    deterministic: Any = torch.utils.deterministic
    # asked for by cuBLAS, which reads it when it is first used
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    fill = deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    # nothing here reads memory before it is written, and filling it costs up to a tenth of a step
    deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        deterministic.fill_uninitialized_memory = fill
