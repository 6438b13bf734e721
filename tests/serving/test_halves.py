"""Products with half-precision rows are those of the same rows in float32."""

import numpy as np
import pytest

from bridgerec.serving.halves import products

HALVES = np.arange(2**16, dtype=np.uint16).view(np.float16)
FINITE = HALVES[np.isfinite(HALVES)]  # all there are, subnormal ones and both zeros too


def test_every_half_is_read_as_what_it_is() -> None:
    rows = FINITE[:, None]
    assert len(rows) == 2**16 - 2**11
    found = products(rows, np.ones(1, dtype=np.float32))
    np.testing.assert_array_equal(found, FINITE.astype(np.float32))


@pytest.mark.parametrize("n", [0, 1, 255, 256, 257, 1000])
def test_products_are_those_of_floats(n: int) -> None:
    rng = np.random.default_rng(n)
    rows = rng.normal(size=(n, 96)).astype(np.float16)
    vector = rng.normal(size=96).astype(np.float32)
    before = rows.copy()
    exact = rows.astype(np.float64) @ vector.astype(np.float64)
    np.testing.assert_allclose(products(rows, vector), exact, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(rows, before)
    part = rows[n // 3 :]  # of a file that is mapped
    np.testing.assert_allclose(products(part, vector), exact[n // 3 :], rtol=1e-5, atol=1e-4)
