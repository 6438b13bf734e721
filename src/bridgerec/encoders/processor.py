"""What this processor can do, and how its cores share the batches."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Batch = TypeVar("Batch")
Found = TypeVar("Found")


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 natively (avx512_bf16 or amx_bf16)."""
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def has_int8() -> bool:
    """Whether this processor multiplies 8-bit integers into 32-bit sums (avx512_vnni or amx)."""
    import torch

    return bool(torch.cpu._is_vnni_supported() or torch.cpu._is_amx_tile_supported())


def side_by_side(work: Callable[[Batch], Found], batches: Iterable[Batch]) -> Iterator[Found]:
    """`work` on every batch, in their order; each of PyTorch's threads has a batch of its own.

    All threads on one batch would wait for each other after every operation, and stand idle while
    Python prepares the next.
    """
    import torch

    threads = torch.get_num_threads()
    if threads == 1:
        yield from map(work, batches)
        return
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    waiting: deque[Future[Found]] = deque()
    try:
        for batch in batches:
            waiting.append(pool.submit(work, batch))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # MKL's number is the whole process's
