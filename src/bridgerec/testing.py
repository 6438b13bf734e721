"""Conformance tests that every candidate must pass; third parties inherit the class.

    class TestMine(CandidateContract):
        candidate = Mine
        configs = (MineConfig(epochs=2),)

The pytest fixture `training` (a `bridgerec.data.dataset.Training` with two domains) has to be
provided by the inheriting suite.
"""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from bridgerec.data.dataset import Histories, Training
from bridgerec.models.base import Candidate, CandidateConfig, load


class CandidateContract:
    """Fits, scores any history, round-trips through disk, repeats under a seed."""

    candidate: ClassVar[type[Candidate]]
    configs: ClassVar[tuple[CandidateConfig, ...]] = ()
    personal: ClassVar[bool] = True  # False: the same scores for everybody

    def fitted(self, training: Training, seed: int = 3) -> list[Candidate]:
        configs = self.configs or (self.candidate.config_class(),)
        found = [self.candidate(config, seed) for config in configs]
        for candidate in found:
            candidate.train(training)
        return found

    def store(self, candidate: Candidate, folder: Path) -> None:
        """Save the candidate, and what it needs that lies elsewhere."""
        candidate.save(folder)

    def questions(self, training: Training) -> Histories:
        """Training people, an unseen mixture, one item, and nothing."""
        known = [training.histories.batch(i, i + 1).items.tolist() for i in range(3)]
        n = len(training.catalogue)
        return Histories.of([*known, [0, n - 1, n // 2], [1], []])

    def test_scores_are_finite_for_any_history(self, training: Training) -> None:
        for candidate in self.fitted(training):
            for target in training.catalogue.domains:
                block = training.catalogue.block(target)
                scores = candidate.score(self.questions(training), target)
                assert scores.shape == (6, block.stop - block.start)
                assert scores.dtype == np.float32
                wrong = np.argwhere(~np.isfinite(scores))
                assert not len(wrong), f"{candidate.config}: not finite at {wrong[:5].tolist()}"

    def test_fitting_leaves_the_training_rows_alone(self, training: Training) -> None:
        before = deepcopy(training.histories)
        self.fitted(training)
        for name in ("indptr", "items", "weights", "timestamp"):
            assert np.array_equal(getattr(training.histories, name), getattr(before, name)), name

    def test_round_trip_through_disk(self, training: Training, tmp_path: Path) -> None:
        for number, candidate in enumerate(self.fitted(training)):
            folder = tmp_path / str(number)
            candidate.save(folder)
            assert {p.suffix for p in folder.iterdir()} == {".safetensors", ".json"}
            again = load(folder)
            for name, array in candidate.arrays().items():
                assert np.array_equal(array, again.arrays()[name])
            for target in training.catalogue.domains:
                asked = self.questions(training)
                # equal numbers; where they lie in memory may change the last bit of a sum
                np.testing.assert_allclose(
                    again.score(asked, target), candidate.score(asked, target), 1e-4, 1e-5
                )

    def test_news_are_taken_in(self, training: Training, tmp_path: Path) -> None:
        """Nothing new changes nothing; new rows leave finite scores that survive the disk."""
        target = training.catalogue.domains[-1]
        asked, first = self.questions(training), training.histories.batch(0, 20)
        more = replace(training, users=training.users[:20], histories=first)
        for number, candidate in enumerate(self.fitted(training)):
            before = candidate.score(asked, target)
            candidate.update(training)
            np.testing.assert_allclose(candidate.score(asked, target), before, 1e-4, 1e-5)
            candidate.update(more)
            after = candidate.score(asked, target)
            assert np.isfinite(after).all()
            self.store(candidate, tmp_path / str(number))
            again = load(tmp_path / str(number)).score(asked, target)
            np.testing.assert_allclose(again, after, 1e-4, 1e-5)

    def test_same_seed_same_scores(self, training: Training) -> None:
        target = training.catalogue.domains[-1]
        asked = self.questions(training)
        for one, two in zip(self.fitted(training), self.fitted(training), strict=True):
            assert np.array_equal(one.score(asked, target), two.score(asked, target))

    def test_rows_do_not_depend_on_their_neighbours(self, training: Training) -> None:
        asked, target = self.questions(training), training.catalogue.domains[0]
        for candidate in self.fitted(training):
            together = candidate.score(asked, target)
            for i in range(len(asked)):
                alone = candidate.score(asked.batch(i, i + 1), target)[0]
                np.testing.assert_allclose(alone, together[i], rtol=1e-3, atol=1e-4)

    def test_a_new_event_changes_the_answer(self, training: Training) -> None:
        if not self.personal:
            return
        target = training.catalogue.domains[0]
        item = int(training.catalogue.block(target).start)
        for candidate in self.fitted(training):
            before = candidate.score(Histories.of([[item + 1]]), target)
            after = candidate.score(Histories.of([[item + 1, item + 2]]), target)
            assert not np.array_equal(before, after)

    def test_contributions_sum_to_the_score(self, training: Training) -> None:
        """Where a candidate says what each history entry adds, it is all that it adds."""
        for candidate in self.fitted(training):
            for target in training.catalogue.domains:
                items = np.r_[training.catalogue.block(target)][::-2]
                places = items - training.catalogue.block(target).start
                for i in range(3):
                    asked = training.histories.batch(i, i + 1)
                    found = candidate.contributions(asked, target, items)
                    if found is None:
                        return
                    assert found.shape == (len(items), len(asked.items))
                    nothing = replace(Histories.of([[]]), asked=asked.moment)
                    whole, base = (candidate.score(h, target)[0, places] for h in (asked, nothing))
                    np.testing.assert_allclose(base + found.sum(1), whole, 1e-3, 1e-4)

    def test_better_than_chance_on_what_it_learned(self, training: Training) -> None:
        """A liked half of the items scores above the others for the people who like it."""
        if not self.personal:
            return
        target = training.catalogue.domains[0]
        block = training.catalogue.block(target)
        for candidate in self.fitted(training):
            scores = candidate.score(training.histories, target)
            inside = training.histories.within(block)
            liked = scores[inside.rows, inside.items - block.start].mean()
            assert liked > scores.mean()
