"""Training that gives the same bytes again."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def repeatable() -> Iterator[None]:
    """Only deterministic torch operations inside the block.

    Without it the gradient of an indexing adds from several threads in any order, also on a
    processor, so that now and then the last bits of a run differ.
    """
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
