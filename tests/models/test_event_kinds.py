"""Kinds of events: what happened as an input, what will happen as a second task."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bridgerec.data.dataset import Histories, Training
from bridgerec.models.base import Candidate, load
from bridgerec.models.ensemble import Ensemble, EnsembleConfig
from bridgerec.models.sequence import Sequence, SequenceConfig
from bridgerec.testing import CandidateContract
from bridgerec.training.event_kinds import EventKinds, table_of

KINDS = ("like", "purchase")
SMALL = {"embedding_size": 16, "epochs": 2, "batch_size": 32, "learning_rate": 0.005}
BOTH = SequenceConfig(**SMALL, event_input=True, event_weight=0.5)


@pytest.fixture(scope="module", name="training")
def with_kinds(training: Training) -> Training:
    """Odd items are bought, even ones liked; of one entry in ten nobody knows."""
    kind = (training.histories.items % 2).astype(np.int8)
    kind[::10] = -1
    return replace(
        training, histories=replace(training.histories, event_kind=kind), event_kinds=KINDS
    )


class TestSequenceWithKinds(CandidateContract):
    candidate = Sequence
    configs = (BOTH, SequenceConfig(**SMALL, event_weight=None))


def share_bought(candidate: Candidate, asked: Histories, wanted: int) -> float:
    """Share of bought items among everybody's five best of `right`."""
    kinds = np.full(len(asked), wanted, dtype=np.int8)
    best = np.argsort(-candidate.score(replace(asked, wanted=kinds), "right"), axis=1)[:, :5]
    return float((best % 2).mean())


def test_a_wish_for_a_kind_brings_its_items_up(training: Training, tmp_path: Path) -> None:
    asked = training.histories.batch(0, 40)
    options = {**SMALL, "epochs": 20, "learning_rate": 0.02, "event_weight": 0.5}
    candidate = Ensemble(
        EnsembleConfig(of="bridgerec.models.sequence:Sequence", copies=2, options=options)
    )
    candidate.train(training)
    liked, whole, bought = (share_bought(candidate, asked, wanted) for wanted in (0, -1, 1))
    assert liked < 0.1 < 0.3 < whole < 0.7 < 0.9 < bought
    candidate.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.event_kinds == KINDS
    assert share_bought(again, asked, 1) == bought
    any_kind = replace(asked, wanted=np.full(len(asked), -1, dtype=np.int8))
    assert np.array_equal(again.score(any_kind, "left"), again.score(asked, "left"))


def test_what_happened_is_read(training: Training) -> None:
    """The same items, once bought and once liked, are two histories; without the option one."""
    for event_input in (True, False):
        candidate = Sequence(SequenceConfig(**SMALL, event_input=event_input), seed=3)
        candidate.train(training)
        one = replace(training.histories.batch(0, 5), event_kind=np.zeros(45, dtype=np.int8))
        two = replace(one, event_kind=one.event_kind + np.int8(1))
        same = np.array_equal(candidate.score(one, "left"), candidate.score(two, "left"))
        assert same is not event_input


def test_without_kinds_the_options_change_nothing(training: Training) -> None:
    histories = replace(training.histories, event_kind=None)
    silent = replace(training, histories=histories, event_kinds=())
    plain, asking = Sequence(SequenceConfig(**SMALL), seed=3), Sequence(BOTH, seed=3)
    for candidate in (plain, asking):
        candidate.train(silent)
    expected, found = plain.arrays(), asking.arrays()
    assert expected.keys() == found.keys()
    assert all(np.array_equal(expected[name], found[name]) for name in expected)


def test_a_wish_adds_the_log_probability_of_its_kind() -> None:
    torch.manual_seed(0)
    kinds = EventKinds(3, 2, 4)
    with torch.no_grad():
        for part in kinds.parameters():
            part.normal_()
    users, items = torch.randn(3, 4), torch.randn(5, 4)
    found = kinds.wanted(1, users, items, torch.tensor([2, -1, 0]))
    assert not found[1].any()
    for row, kind in ((0, 2), (2, 0)):
        for item in range(5):
            logits = kinds(1, users[[row]], items[[item]])[0]
            expected = torch.log_softmax(logits, 0)[kind]
            torch.testing.assert_close(found[row, item], expected, rtol=1e-4, atol=1e-5)


def test_learned_weights_lean_to_the_surer_task() -> None:
    """At its best the log variance of a task is the logarithm of twice its loss."""
    kinds, losses = EventKinds(3, 1, 4), (torch.tensor(4.0), torch.tensor(0.5))
    optimizer = torch.optim.Adam([kinds.doubt], 0.05)
    for _ in range(500):
        optimizer.zero_grad()
        kinds.joined(*losses, None).backward()
        optimizer.step()
    torch.testing.assert_close(kinds.doubt.data.exp(), torch.tensor([8.0, 1.0]), rtol=0.01, atol=0)
    assert kinds.joined(*losses, 0.5).item() == pytest.approx(4.25)


def test_kinds_follow_their_entries() -> None:
    """Through every way of choosing entries and rows, and into one batch with who tells none."""
    rows = replace(
        Histories.of([[3, 1, 7], [], [2, 9]]),
        event_kind=np.array([0, 1, 0, -1, 1], dtype=np.int8),
        wanted=np.array([1, -1, 0], dtype=np.int8),
    )
    assert table_of(rows, (3, 4)).tolist() == [[0, 1, 0, -1], [-1] * 4, [-1, 1, -1, -1]]
    turned = rows.take(np.array([2, 0])).last(2)
    assert turned.items.tolist() == [2, 9, 1, 7]
    assert turned.event_kind.tolist() == [-1, 1, 1, 0]
    assert turned.wanted.tolist() == [0, 1]
    assert rows.within(slice(2, 8)).event_kind.tolist() == [0, 0, -1]
    both = Histories.joined([rows, Histories.of([[4]])])
    assert both.event_kind.tolist() == [0, 1, 0, -1, 1, -1]
    assert both.wanted.tolist() == [1, -1, 0, -1]
    assert Histories.joined([Histories.of([[4]])] * 2).event_kind is None
