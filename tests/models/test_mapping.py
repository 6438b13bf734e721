"""Interest mapping: the contract, and what is special about carrying taste over."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bridgerec.data.dataset import Histories, Training
from bridgerec.models import bridge, emcdr
from bridgerec.models.base import Candidate
from bridgerec.models.emcdr import EMCDR, EMCDRConfig
from bridgerec.models.profile import Profile, ProfileConfig
from bridgerec.models.ptupcdr import PTUPCDR, PTUPCDRConfig
from bridgerec.testing import CandidateContract
from bridgerec.training.losses import alternatives, set_softmax

SMALL = EMCDRConfig(embedding_size=8)


class TestEMCDR(CandidateContract):
    candidate = EMCDR
    configs = (
        EMCDRConfig(),
        EMCDRConfig(embedding_size=8, loss="ranking", epochs=3),
        EMCDRConfig(embedding_size=8, mapping="mlp", epochs=3),
        EMCDRConfig(embedding_size=8, mapping="mlp", loss="ranking", negatives=8, epochs=3),
    )


class TestPTUPCDR(CandidateContract):
    candidate = PTUPCDR
    configs = (PTUPCDRConfig(embedding_size=8, epochs=3),)


class TestProfile(CandidateContract):
    candidate = Profile
    configs = (
        ProfileConfig(embedding_size=8, epochs=3, batch_size=32, factors=SMALL),
        ProfileConfig(embedding_size=8, epochs=3, batch_size=32, negatives=9, factors=SMALL),
    )


CANDIDATES = (
    EMCDR(EMCDRConfig(embedding_size=8, epochs=30, bridge_reg=0.1)),
    EMCDR(EMCDRConfig(embedding_size=8, epochs=30, bridge_reg=0.1, loss="ranking")),
    EMCDR(EMCDRConfig(embedding_size=8, epochs=100, mapping="mlp", batch_size=32)),
    EMCDR(EMCDRConfig(embedding_size=8, epochs=60, mapping="mlp", loss="ranking", batch_size=32)),
    PTUPCDR(PTUPCDRConfig(embedding_size=8, epochs=20, bridge_reg=0.1)),
    Profile(
        ProfileConfig(embedding_size=8, epochs=30, batch_size=32, learning_rate=0.02, factors=SMALL)
    ),
)


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda c: f"{type(c).__name__}")
def test_taste_is_carried_over(training: Training, candidate: Candidate) -> None:
    candidate.train(training)
    scores = candidate.score(Histories.of([[0, 3, 6, 9], [1, 4, 7, 10]]), "right")
    for row, taste in ((0, 0), (1, 1)):
        same = scores[row, np.arange(30, 60) % 3 == taste].mean()
        assert same > scores[row, np.arange(30, 60) % 3 != taste].mean()


@pytest.mark.parametrize("config", [EMCDRConfig(embedding_size=8), PTUPCDRConfig(epochs=2)])
def test_cold_people_never_teach_the_mapping(
    training: Training, config: bridge.BridgeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only people with rows on both sides reach a bridge."""
    taught = []
    kind = EMCDR if isinstance(config, EMCDRConfig) else PTUPCDR
    original = kind._bridge

    def watched(self: EMCDR, lesson: bridge.Lesson, past: Histories, source: str) -> object:
        assert past.lengths.all()
        assert lesson.wanted.lengths.all()
        taught.append(len(past))
        return original(self, lesson, past, source)

    monkeypatch.setattr(kind, "_bridge", watched)
    row, left = training.histories.rows, training.histories.items < 30
    cold = training.histories.where(left | (row >= 50))  # people 0..49 have never been right
    kind(config).train(replace(training, histories=cold))
    right = cold.items >= 30
    been = [np.bincount(cold.rows[part], minlength=120) > 0 for part in (~right, right)]
    assert taught == [int((been[0] & been[1]).sum())] * 2


@pytest.mark.parametrize("candidate", [
    EMCDR(EMCDRConfig(embedding_size=8)),
    EMCDR(EMCDRConfig(embedding_size=8, mapping="mlp", loss="ranking", epochs=2)),
    PTUPCDR(PTUPCDRConfig(epochs=2)),
    Profile(ProfileConfig(epochs=2, factors=SMALL)),
], ids=lambda c: type(c).__name__)  # fmt: skip
def test_without_overlap_there_is_still_an_answer(training: Training, candidate: Candidate) -> None:
    rows, inside = training.histories.rows, training.histories.items < 30
    apart = training.histories.where(inside == (rows % 2 == 0))
    candidate.train(replace(training, histories=apart))
    scores = candidate.score(Histories.of([[1, 2, 3], []]), "right")
    assert np.isfinite(scores).all()
    assert scores.std(axis=1).min() > 0
    if isinstance(candidate, EMCDR):  # nothing is known of a bridge: everyone is the mean person
        assert not candidate.bridges
        np.testing.assert_array_equal(scores[0], scores[1])


def test_every_bridge_gets_all_its_epochs(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def counted(*arguments: object, **options: object) -> object:
        seen.append(1)
        return batches(*arguments, **options)

    batches = bridge.batches
    monkeypatch.setattr(bridge, "batches", counted)
    EMCDR(EMCDRConfig(embedding_size=8, iterations=1, epochs=7, mapping="mlp")).train(training)
    assert len(seen) == 2 * 7


def test_the_linear_mapping_is_the_ridge_solution() -> None:
    rng = np.random.default_rng(0)
    source, weights = rng.normal(size=(200, 4)), rng.normal(size=(4, 4))
    target = source @ weights + 3
    found = emcdr.ridge(source.astype(np.float32), target.astype(np.float32), 1e-6)
    np.testing.assert_allclose(found, np.vstack([weights, np.full(4, 3)]), atol=1e-3)


def test_bridges_differ_between_people(training: Training) -> None:
    candidate = PTUPCDR(PTUPCDRConfig(embedding_size=8, epochs=10))
    candidate.train(training)
    same = np.ones((2, 8), dtype=np.float32)  # equal factors, other histories
    mapped = candidate._map(same, Histories.of([[0, 3], [1, 4]]), "left", "right")
    assert not np.allclose(mapped[0], mapped[1])
    plain = EMCDR(EMCDRConfig(embedding_size=8))
    plain.train(training)
    mapped = plain._map(same, Histories.of([[0, 3], [1, 4]]), "left", "right")
    np.testing.assert_array_equal(mapped[0], mapped[1])


def test_attention_sees_real_items_only() -> None:
    from bridgerec.models.ptupcdr import _Bridge

    torch.manual_seed(0)
    net, own, items = _Bridge(4, 5), torch.randn(1, 4), torch.randn(1, 3, 4)
    real = torch.tensor([[False, True, True]])
    before = net(own, items, real)
    items[0, 0] = 100.0
    torch.testing.assert_close(net(own, items, real), before)


def test_the_gate_moves_with_the_target_history(training: Training) -> None:
    """The longer the target's own history, the less a source can say, once the gate is learned."""
    net = Profile(TestProfile.configs[0])
    net.train(training)
    with torch.no_grad():
        net.net.gate[1, 0] = torch.tensor([0.0, 0.0, -5.0])
        net.net.gate[1, 1] = torch.tensor([0.0, 0.0, 5.0])
    source = net._people(Histories.of([[0, 3]]), net.net.entry[[0, 3]], 1)
    other = net._people(Histories.of([[1, 4]]), net.net.entry[[1, 4]], 1)
    fused = [
        net._people(Histories.of([past]), net.net.entry[past], 1)
        for past in ([0, 3, 32, 35, 38], [1, 4, 32, 35, 38])
    ]
    assert (fused[0] - fused[1]).norm() < 0.2 * (source - other).norm()


def test_a_dropped_domain_is_asked_for_in_full(training: Training) -> None:
    candidate = Profile(ProfileConfig(history_dropout=1, item_dropout=0, factors=SMALL))
    candidate._shape(training.catalogue.domains, training.catalogue.offsets)
    past, wanted = candidate._question(training.histories, 1, np.random.default_rng(0))
    assert (past.items < 30).all()
    assert (wanted.items >= 30).all()
    assert len(wanted.items) == (training.histories.items >= 30).sum()


def test_profile_learns_cold_start_where_the_mapping_is_off(training: Training) -> None:
    config = ProfileConfig(
        embedding_size=8, epochs=30, batch_size=32, learning_rate=0.02, mapping_weight=0,
        factors=SMALL,
    )  # fmt: skip
    candidate = Profile(config)
    candidate.train(training)
    scores = candidate.score(Histories.of([[0, 3, 6, 9]]), "right")[0]
    same = np.arange(30, 60) % 3 == 0
    assert scores[same].mean() > scores[~same].mean()


def test_set_softmax_by_hand() -> None:
    """Two people; the first has items 0 and 1, which do not stand against each other."""
    logits = torch.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, 0.5]])
    correction = torch.tensor([-torch.inf, 0.0, float(np.log(2))])  # 0 was not drawn, 2 for two
    found = set_softmax(
        logits, torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]), correction,
        torch.tensor([1.0, 1.0, 2.0]),
    )  # fmt: skip
    e = np.exp
    each = [
        np.log(e(1) + 2 * e(3)) - 1,
        np.log(e(2) + 2 * e(3)) - 2,
        np.log(1 + e(1) + 2 * e(0.5)),
    ]
    assert float(found) == pytest.approx((each[0] + each[1] + 2 * each[2]) / 4, abs=1e-5)


def test_alternatives_hold_what_is_wanted() -> None:
    count = np.array([3, 0, 1, 5])
    items, correction = alternatives(count, np.array([1]), 10, np.random.default_rng(0))
    assert items.tolist() == [0, 1, 2, 3]
    assert correction.tolist() == [0, -np.inf, 0, 0]
    items, correction = alternatives(count, np.array([1]), 2, np.random.default_rng(0))
    assert 1 in items
    assert np.isfinite(correction).sum() <= 2
