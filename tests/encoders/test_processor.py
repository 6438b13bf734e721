"""Products with reordered weights have the bits of plain ones; batches keep their order."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from bridgerec.config import Encoder
from bridgerec.encoders.packed import round_dense
from bridgerec.encoders.processor import has_bfloat16, side_by_side
from bridgerec.encoders.text import TextEncoder


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("sizes", [(384, 1536, True), (1536, 384, False), (100, 70, True)])
def test_reordered_weights_change_no_bit(sizes: tuple[int, int, bool]) -> None:
    torch.manual_seed(0)
    plain = torch.nn.Linear(sizes[0], sizes[1], bias=sizes[2]).to(torch.bfloat16)
    dense = torch.nn.Sequential(torch.nn.Linear(sizes[0], sizes[1], bias=sizes[2]))
    dense[0].load_state_dict(plain.state_dict())
    round_dense(dense)
    # otherwise nothing is reordered, and the layer computes as it did
    assert ("forward" in vars(dense[0])) == has_bfloat16()
    inputs = torch.randn(900, sizes[0])
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        whole = plain(inputs)
        for rows in (32, 33, 100, 900):
            found = dense(inputs[:rows].reshape(1, rows, -1))
            assert found.dtype == torch.bfloat16
            torch.testing.assert_close(found[0], whole[:rows], rtol=0, atol=0)


def test_batches_side_by_side_keep_their_order(two_threads: None) -> None:
    seen = set()

    def work(number: int) -> int:
        assert torch.get_num_threads() == 1
        time.sleep(0.02 * (number % 3))
        seen.add(threading.get_ident())
        return number

    assert list(side_by_side(work, range(12))) == list(range(12))
    assert len(seen) == 2
    assert torch.get_num_threads() == 2


def test_a_failing_batch_is_told_and_the_threads_are_given_back(two_threads: None) -> None:
    def work(number: int) -> float:
        return 1 / (5 - number)

    found: list[float] = []
    with pytest.raises(ZeroDivisionError):
        found.extend(side_by_side(work, range(100)))
    assert len(found) == 5
    assert torch.get_num_threads() == 2


def test_vectors_do_not_depend_on_the_number_of_threads(two_threads: None) -> None:
    texts = [" ".join(["tea", "pot", "book"][: 1 + n % 3]) + f" {n}" for n in range(30)]
    encoder = TextEncoder(Encoder(device="cpu", batch_size=4))
    both = encoder.encode(texts)
    torch.set_num_threads(1)
    np.testing.assert_array_equal(encoder.encode(texts), both)
