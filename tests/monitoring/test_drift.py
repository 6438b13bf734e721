"""The two-sample test: silent on equal distributions, loud on shifted ones."""

import time

import numpy as np
import pytest

from bridgerec.monitoring.drift import vector_drift


def test_false_alarms_stay_near_the_promised_rate() -> None:
    rng = np.random.default_rng(0)
    catalogue = rng.normal(size=(300, 32))
    results = []
    for seed in range(60):
        one, other = catalogue[rng.integers(300, size=400)], catalogue[rng.integers(300, size=150)]
        results.append(vector_drift(one, other, seed=seed))
    assert sum(r.drift for r in results) <= 8  # 3 expected; above 8 has probability 0.4 %
    assert abs(np.mean([r.auc for r in results]) - 0.5) < 0.02


@pytest.mark.parametrize("seed", range(5))
def test_a_shift_is_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shifted = rng.normal(size=(300, 32)) + 0.25
    found = vector_drift(rng.normal(size=(600, 32)), shifted, seed=seed)
    assert found.drift
    assert found.auc > 0.7


def test_it_is_fast_and_repeats() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 10_000, 384)).astype(np.float32)
    start = time.process_time()
    first = vector_drift(one, other)
    assert time.process_time() - start < 4  # 2 s on a quiet core
    assert first == vector_drift(one, other)


def test_too_small_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 10 rows"):
        vector_drift(np.zeros((5, 3)), np.zeros((50, 3)))
