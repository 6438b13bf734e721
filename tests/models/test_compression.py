"""Smaller forms of arrays: bounds, the same bits twice, and candidates that keep the contract."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridgerec.config import Compression, Model
from bridgerec.data.dataset import Training
from bridgerec.models.base import Candidate, build
from bridgerec.models.compression import compress, expand
from bridgerec.models.ease import EASE, EASEConfig
from bridgerec.models.two_tower import TwoTower, TwoTowerConfig
from bridgerec.testing import CandidateContract

FORMS = [Compression(precision="bfloat16"), Compression(precision="int8")]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(-6, 6))
def test_errors_are_bounded_and_rounding_twice_changes_nothing(seed: int, power: float) -> None:
    drawn = np.random.default_rng(seed).standard_t(3, (40, 32)) * 10**power
    drawn[3] = 0
    array = drawn.astype(np.float32)
    for form in FORMS:
        found = expand(compress({"a": array}, form))["a"]
        assert np.array_equal(expand(compress({"a": found}, form))["a"], found)
        largest = np.abs(array).max(1, keepdims=True)
        limit = 0.504 * largest / 127 if form.precision == "int8" else 2.0**-8 * np.abs(array)
        assert (np.abs(found - array) <= limit).all()


def test_a_diagonal_and_small_or_whole_numbers_are_kept() -> None:
    rng = np.random.default_rng(0)
    square = (rng.normal(size=(64, 64)) * 1e-4 + np.eye(64)).astype(np.float32)
    arrays = {"k": square, "small": rng.normal(size=(4, 4)).astype(np.float32), "n": np.arange(5)}
    found = expand(compress(arrays, Compression(precision="int8")))
    assert found.keys() == arrays.keys()
    assert np.array_equal(np.diag(found["k"]), np.diag(square))
    assert np.abs(found["k"] - square).max() < 5e-6
    assert np.array_equal(found["small"], arrays["small"])
    assert np.array_equal(found["n"], arrays["n"])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.02, 1), st.sampled_from(["float32", "bfloat16", "int8"]))
def test_the_largest_of_each_row_are_kept(seed: int, keep: float, precision: str) -> None:
    drawn = np.random.default_rng(seed).standard_t(3, (3, 20, 30)).astype(np.float32)
    drawn[0, 1] = 0
    form = Compression.model_validate({"precision": precision, "keep": keep})
    found = expand(compress({"a": drawn}, form))["a"]
    assert found.shape == drawn.shape
    assert np.array_equal(expand(compress({"a": found}, form))["a"], found)
    kept = -np.sort(-np.abs(drawn), axis=-1)[..., : int(np.ceil(keep * 30))]
    left, right = np.abs(found), np.abs(drawn)
    assert (left[right < kept[..., -1:]] == 0).all()
    limit = {"float32": 0, "bfloat16": 2.0**-8, "int8": 0.504 / 127}[precision]
    close = limit * right.max()
    assert (np.abs(left - right)[left > 0] <= close).all()
    largest = -np.sort(-left, axis=-1)[..., : kept.shape[-1]]  # of equal ones any may be left out
    assert (np.abs(largest - kept) <= close).all()


def test_pruning_makes_arrays_smaller_and_leaves_the_diagonal() -> None:
    rng = np.random.default_rng(0)
    square = (rng.normal(size=(200, 200)) + 9 * np.eye(200)).astype(np.float32)
    size = {}
    for keep in (1.0, 0.1):
        stored = compress({"k": square}, Compression(precision="int8", keep=keep))
        size[keep] = sum(array.nbytes for array in stored.values())
        assert np.array_equal(np.diag(expand(stored)["k"]), np.diag(square))
    assert size[0.1] < 0.35 * size[1.0]


class Small(CandidateContract):
    compression = Compression(precision="int8")

    def fitted(self, training: Training, seed: int = 3) -> list[Candidate]:
        found = [self.candidate(config, seed) for config in self.configs]
        for candidate in found:
            candidate.compression = self.compression
            candidate.train(training)
        return found


class TestEASE(Small):
    candidate = EASE
    configs = (
        EASEConfig(regularization=5, text_weight=2, recency=0.8),
        EASEConfig(regularization=5, max_rows=100),
    )


class TestTwoTower(Small):
    candidate = TwoTower
    configs = (TwoTowerConfig(epochs=4, batch_size=32),)


class TestPrunedEASE(TestEASE):
    compression = Compression(precision="bfloat16", keep=0.4)


def test_the_option_of_a_model_makes_a_smaller_file(training: Training, tmp_path: Path) -> None:
    sizes = {}
    for precision in ("float32", "int8"):
        model = Model.model_validate(
            {"use": "bridgerec.models.ease:EASE", "compression": {"precision": precision}}
        )
        candidate = build("ease", model)
        candidate.train(training)
        candidate.save(tmp_path / precision)
        sizes[precision] = (tmp_path / precision / "model.safetensors").stat().st_size
    assert sizes["int8"] < 0.5 * sizes["float32"]
    with pytest.raises(ValueError, match="precision"):
        Compression.model_validate({"precision": "int4"})
