"""Where candidates learn."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from bridgerec.config import Train
from bridgerec.data.dataset import Histories, Images, Training
from bridgerec.errors import ConfigError
from bridgerec.models.base import Candidate
from bridgerec.models.ensemble import Ensemble, EnsembleConfig
from bridgerec.models.profile import Profile, ProfileConfig
from bridgerec.models.sequence import Sequence
from bridgerec.models.sequence_net import SequenceConfig
from bridgerec.models.two_tower import TwoTower, TwoTowerConfig
from bridgerec.training.device import learning, training_device

ASKED = Histories.of([[0, 31, 7], []])
OPTIONS = {"epochs": 1, "batch_size": 32, "adversarial_weight": 0.5, "view_weight": 0.1}


def candidates() -> Iterator[Candidate]:
    yield Sequence(SequenceConfig(embedding_size=8, **OPTIONS), 3)
    more = {"person_weight": 0.1, "item_weight": 0.1, "adaptor": "moe", "attention": True}
    yield TwoTower(TwoTowerConfig(**OPTIONS, **more), 3)
    yield Profile(ProfileConfig(epochs=1, batch_size=32), 3)


def names() -> list[str]:
    return [type(candidate).__name__ for candidate in candidates()]


@pytest.fixture
def pictured(training: Training) -> Training:
    """With pictures of every other item."""
    n = len(training.catalogue)
    vectors = np.random.default_rng(0).standard_normal((n, 6)).astype(np.float32)
    return replace(training, images=Images(vectors, np.arange(n) % 2 == 0))


def test_cuda_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert [training_device(wanted) for wanted in ("auto", "cpu")] == ["cpu", "cpu"]
    with pytest.raises(ConfigError, match=r"train\.device is cuda, but .* no CUDA device"):
        training_device("cuda")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert [training_device(w) for w in ("auto", "cpu", "cuda")] == ["cuda", "cpu", "cuda"]


def test_only_known_devices_are_taken() -> None:
    assert Train().device == "cpu"
    with pytest.raises(ValidationError, match="device"):
        Train(device="tpu")


def test_new_tensors_lie_on_the_device_of_learning() -> None:
    """The device `meta` holds no numbers and is everywhere."""
    state = torch.get_rng_state()
    with learning("meta", 3):
        assert torch.zeros(2).device.type == torch.as_tensor(np.ones(2)).device.type == "meta"
    assert torch.zeros(2).device.type == "cpu"
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("number", range(3), ids=names())
def test_no_step_of_learning_goes_through_the_processor(
    pictured: Training, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tensor that NumPy shares lies on the processor, whatever the default device."""

    @contextmanager
    def watched(name: str, seed: int) -> Iterator[None]:
        def refuse(*_: object) -> None:
            raise AssertionError("an array of NumPy is taken for a tensor of the device")

        with pytest.MonkeyPatch.context() as patch, learning(name, seed):
            patch.setattr(torch, "from_numpy", refuse)
            patch.setattr(torch.Tensor, "numpy", refuse)
            yield

    candidate = list(candidates())[number]
    monkeypatch.setattr(f"{type(candidate).__module__}.learning", watched)
    candidate.train(pictured)
    assert np.isfinite(candidate.score(ASKED, "right")).all()


def test_an_ensemble_hands_the_device_on(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    @contextmanager
    def noted(name: str, seed: int) -> Iterator[None]:
        asked.append(name)
        with learning("cpu", seed):
            yield

    monkeypatch.setattr("bridgerec.models.profile.learning", noted)
    options = {"epochs": 1, "batch_size": 32}
    config = EnsembleConfig(of="bridgerec.models.profile:Profile", copies=2, options=options)
    Ensemble(config, 1).train(replace(training, device="cuda"))
    assert asked == ["cuda", "cuda"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("number", range(3), ids=names())
def test_learning_on_cuda_repeats_and_ends_on_the_processor(
    pictured: Training, number: int
) -> None:
    found = []
    for _ in range(2):
        candidate = list(candidates())[number]
        candidate.train(replace(pictured, device="cuda"))
        assert np.isfinite(candidate.score(ASKED, "right")).all()
        found.append(candidate.arrays())
    for name, array in found[0].items():
        assert np.array_equal(array, found[1][name]), name
