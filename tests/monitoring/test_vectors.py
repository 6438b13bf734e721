"""Vector drift: silent on equal distributions, loud on shifted ones, and the encoder told apart."""

import numpy as np
import pytest

from bridgerec.monitoring.vectors import encoder_change, judge_vectors, vector_drift


def test_false_alarms_stay_within_the_promised_rate() -> None:
    rng = np.random.default_rng(0)
    catalogue = rng.normal(size=(300, 32))  # items occur in both samples, some several times
    results = []
    for seed in range(100):
        one, other = catalogue[rng.integers(300, size=400)], catalogue[rng.integers(300, size=150)]
        results.append(vector_drift(one, other, alpha=0.05, seed=seed))
    assert sum(r.drift for r in results) <= 11  # above 11 has probability 0.4 % at a rate of 5 %
    assert abs(np.mean([r.auc for r in results]) - 0.5) < 0.02
    p_values = np.array([[r.p_value, r.covariance_p] for r in results])
    assert np.all(np.abs((p_values < 0.5).mean(0) - 0.5) < 0.16)  # 3.2 standard errors


@pytest.mark.parametrize("seed", range(5))
def test_a_shift_is_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shifted = rng.normal(size=(300, 32)) + 0.25
    found = vector_drift(rng.normal(size=(600, 32)), shifted, seed=seed)
    assert found.drift
    assert found.auc > 0.7


def test_other_correlations_with_equal_means_are_found() -> None:
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(400, 32)) * np.linspace(0.5, 1.5, 32)
    found = vector_drift(rng.normal(size=(600, 32)), wide)
    assert found.drift
    assert found.covariance > 1.1 * found.covariance_expected
    assert found.covariance_p < 1e-6


def test_it_repeats_and_both_directions_agree() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 500, 16)).astype(np.float32)
    assert vector_drift(one, other) == vector_drift(one, other)
    there, back = vector_drift(one, other + 0.3), vector_drift(other + 0.3, one)
    assert there.drift
    assert back.drift
    assert there.auc == pytest.approx(back.auc, abs=0.03)


def test_constant_vectors_are_no_drift() -> None:
    found = vector_drift(np.ones((20, 3)), np.ones((30, 3)))
    assert not found.drift
    assert found.auc < 0.7
    assert found.centroid_shift == pytest.approx(0)


def test_too_small_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 10 rows"):
        vector_drift(np.zeros((5, 3)), np.zeros((50, 3)))


def test_a_rotated_space_is_an_encoder_change_not_drift() -> None:
    rng = np.random.default_rng(0)
    old = rng.normal(size=(200, 16))
    turn = np.linalg.qr(rng.normal(size=(16, 16)))[0]
    verdict = judge_vectors(old, old @ turn, common=(old, old @ turn))
    assert verdict.cause == "encoder"
    assert verdict.drift is None
    assert verdict.encoder is not None
    assert verdict.encoder.moved == 1
    assert verdict.encoder.neighbour_overlap > 0.99  # distances are kept
    other = encoder_change(old, rng.normal(size=(200, 8)))
    assert other.cosine is None
    assert other.changed
    assert other.neighbour_overlap < 0.15  # chance: 10 of 199


def test_rounded_vectors_of_moved_data_are_data_drift() -> None:
    rng = np.random.default_rng(0)
    catalogue = rng.normal(size=(400, 16))
    rounded = catalogue.astype(np.float16).astype(np.float64)
    right = np.flatnonzero(catalogue[:, 0] > 0)
    window = rounded[rng.choice(right, 200)]
    verdict = judge_vectors(catalogue, window, common=(catalogue[:100], rounded[:100]))
    assert verdict.cause == "data"
    assert verdict.encoder is not None
    assert not verdict.encoder.changed
    assert "data moved" in verdict.words


def test_texts_without_vectors_do_not_count() -> None:
    old = np.eye(6)
    old[:2] = 0
    new = old.copy()
    assert encoder_change(old, new).texts == 4
    new[0, 1] = 1  # it has a text now
    found = encoder_change(old, new)
    assert (found.texts, found.moved) == (5, 0.2)
