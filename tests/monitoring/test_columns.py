"""The permutation test of total variation that Evidently is given."""

import numpy as np
import pandas as pd
import pytest

from bridgerec.monitoring.columns import total_variation


@pytest.mark.slow
def test_it_agrees_with_evidentlys_own() -> None:
    from evidently.legacy.calculations.stattests.tvd_stattest import _tvd_stattest

    rng = np.random.default_rng(1)
    for shift in (0.0, 0.1):
        before = pd.Series(rng.choice(list("abc"), 90, p=[0.5, 0.3, 0.2]))
        now = pd.Series(rng.choice(list("abc"), 70, p=[0.5 - shift, 0.3, 0.2 + shift]))
        np.random.seed(0)  # noqa: NPY002
        expected, _ = _tvd_stattest(before, now, "cat", 0.05)
        # theirs has 1,000 permutations: 4 standard errors of p = 0.5 are 0.063
        assert total_variation(before, now) == pytest.approx(expected, abs=0.065)


def test_p_values_are_uniform_without_drift_and_small_with_it() -> None:
    rng = np.random.default_rng(0)
    values = [
        total_variation(
            pd.Series(rng.integers(0, 8, 120).astype(str)),
            pd.Series(rng.integers(0, 8, 60).astype(str)),
        )
        for _ in range(200)
    ]
    assert abs(np.mean(np.array(values) < 0.5) - 0.5) < 0.12  # 3.3 standard errors
    assert np.mean(np.array(values) < 0.05) < 0.11
    one, other = pd.Series(["a"] * 30 + ["b"] * 30), pd.Series(["a"] * 30)
    assert total_variation(one, other) == 1e-4  # as small as 9,999 permutations can tell
    assert total_variation(one, one) == 1
