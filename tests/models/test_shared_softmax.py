"""`training.shared_softmax` against the same loss written down plainly."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bridgerec.training import shared_softmax
from bridgerec.training.shared_softmax import Shared, SharedSoftmax


def plainly(
    users: Tensor, items: Tensor, positive: Tensor, popularity: Tensor, follow: Tensor,
    trend: Tensor, shared: Shared,
) -> Tensor:  # fmt: skip
    lift = torch.zeros(len(users), len(items), dtype=users.dtype)
    for weight, table in zip(trend, shared.trends, strict=True):
        lift = lift + weight * table.T[shared.when]
    logits = users @ items.T + popularity[:, None] * shared.popular + follow[:, None] * lift
    hit = shared.hit[:, None] == torch.arange(len(items))
    logits = (logits - shared.log_q).masked_fill(hit, -torch.inf)
    every = torch.logsumexp(torch.cat([positive[:, None], logits], 1), 1)
    return ((every - positive) * shared.weight).sum()


def drawn(
    n: int, m: int, size: int, half_lives: int, moments: int, seed: int
) -> tuple[list[Tensor], Shared]:
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal(shape))

    learned = [normal(n, size), normal(m, size), normal(n), normal(n), normal(n)]
    learned.append(normal(half_lives))
    shared = Shared(
        normal(m), normal(m), [normal(m, moments) for _ in range(half_lives)], moments,
        torch.from_numpy(rng.integers(0, moments, n)),
        torch.from_numpy(rng.integers(-1, m, n)), normal(n).abs(),
    )  # fmt: skip
    return [x.requires_grad_() for x in learned], shared


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 12), st.integers(1, 5), st.integers(0, 3),
    st.integers(1, 6), st.integers(0, 2**31),
)  # fmt: skip
def test_loss_and_gradients_are_those_of_the_plain_form(
    n: int, m: int, size: int, half_lives: int, moments: int, seed: int
) -> None:
    learned, shared = drawn(n, m, size, half_lives, moments, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_softmax, "BLOCK", 16)  # several blocks, and a rest
        found = 3 * SharedSoftmax.apply(*learned, shared)
    expected = 3 * plainly(*learned, shared)
    torch.testing.assert_close(found, expected)
    gradients = torch.autograd.grad(found, learned)
    for mine, theirs in zip(
        gradients, torch.autograd.grad(expected, learned, allow_unused=True), strict=True
    ):
        torch.testing.assert_close(mine, torch.zeros_like(mine) if theirs is None else theirs)


def test_large_logits_stay_finite() -> None:
    learned, shared = drawn(20, 6, 3, 1, 2, 0)
    learned[0].data *= 1e4
    loss = SharedSoftmax.apply(*learned, shared)
    assert torch.isfinite(loss)
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(loss, learned))


def test_mixed_precision_multiplies_in_bfloat16() -> None:
    learned, shared = drawn(300, 50, 16, 2, 9, 1)
    learned = [x.detach().float().requires_grad_() for x in learned]
    narrow = Shared(
        shared.popular.float(), shared.log_q.float(), [t.float() for t in shared.trends],
        shared.moments, shared.when, shared.hit, shared.weight.float(),
    )  # fmt: skip
    exact = SharedSoftmax.apply(*learned, narrow)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = SharedSoftmax.apply(*learned, narrow)
    assert mixed.dtype == torch.float32
    assert 0 < float((mixed - exact).detach().abs()) < 0.01 * float(exact.detach())
    for a, b in zip(
        torch.autograd.grad(mixed, learned), torch.autograd.grad(exact, learned), strict=True
    ):
        assert torch.cosine_similarity(a.flatten(), b.flatten(), 0) > 0.999
