"""Conformance tests that every plug-in must pass; third parties inherit the class.

    class TestMine(CandidateContract):
        candidate = Mine
        configs = (MineConfig(epochs=2),)

    class TestMyRule(RuleContract):
        rule = MyRule

For candidates the pytest fixture `training` (a `bridgerec.data.dataset.Training` with two
domains) has to be provided by the inheriting suite.
"""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from bridgerec.data.dataset import Histories, Training
from bridgerec.errors import ConfigError
from bridgerec.models.base import Candidate, CandidateConfig, load
from bridgerec.serving.columns import Columns
from bridgerec.serving.ranked import Ranked
from bridgerec.serving.rules import Context, Reranker, Rule, RuleConfig, build_rules, standardise


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


class RuleContract:
    """Reorders any pool, invents nothing, repeats, and leaves what it is given alone.

    The catalogue of these tests has 80 items of the domains `left` and `right`, ids i0 to i79,
    brands b0 to b3, and categories such as "Left > Jazz > A".
    """

    rule: ClassVar[type[Rule]]
    configs: ClassVar[tuple[RuleConfig, ...]] = ()

    def rules(self) -> list[Rule]:
        return [self.rule(config) for config in self.configs or (self.rule.config_class(),)]

    def columns(self, seed: int = 0) -> Columns:
        """A catalogue in which one item in eight lacks everything that may be missing."""
        rng, n = np.random.default_rng(seed), 80
        missing = rng.random(n) < 1 / 8
        themes = rng.choice(["Jazz", "Tea", "Sailing"], n)
        vectors = (
            rng.normal(size=(n, 16)) + 3 * np.eye(16)[np.unique(themes, return_inverse=True)[1]]
        )
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        domain = ["left"] * (n // 2) + ["right"] * (n // 2)
        return Columns(
            domain=domain,
            item_id=[f"i{i}" for i in range(n)],
            title=[f"{theme} {i}" for i, theme in enumerate(themes)],
            description=[""] * n,
            category=[
                "" if missing[i] else f"{domain[i].title()} > {theme} > {'AB'[i % 2]}"
                for i, theme in enumerate(themes)
            ],
            brand=["" if missing[i] else f"b{i % 4}" for i in range(n)],
            price=np.where(missing, np.nan, rng.lognormal(3, 1, n)),
            born=np.where(missing, np.nan, rng.integers(1_600_000_000, 1_630_000_000, n)),
            vectors_of=vectors.astype(np.float32).__getitem__,
        )

    def cases(self) -> list[tuple[Ranked, Context]]:
        """Pools of many kinds: long, short, empty, of equal scores; with and without a history."""
        columns, rng, found = self.columns(), np.random.default_rng(1), []
        for size, k, history, diversity, now in (
            (80, 10, 12, 0.5, 1_630_000_000), (40, 40, 1, 1.0, 1_600_000_000),
            (30, 50, 0, 0.2, None), (1, 5, 5, 0.7, 1_630_000_000), (0, 5, 5, 0.7, None),
            (25, 1, 70, 0.0, 1_615_000_000),
        ):  # fmt: skip
            context = Context(columns, rng.permutation(80)[:history], k, now, diversity)
            scores = np.sort(rng.normal(size=size))[::-1].astype(np.float32)
            for own in (standardise(scores), np.zeros(size, dtype=np.float32)):
                found.append((Ranked(rng.permutation(80)[:size], own), context))
        return found

    def test_invents_nothing(self) -> None:
        """Items of the pool, each at most once; finite scores that never rise."""
        for rule in self.rules():
            for pool, context in self.cases():
                after = rule.apply(pool, context)
                items = after.items.tolist()
                assert len(items) == len(set(items)) == len(after.scores)
                assert set(items) <= set(pool.items.tolist())
                assert np.isfinite(after.scores).all()
                assert (np.diff(after.scores) <= 0).all(), f"{rule.config}: scores rise"

    def test_repeats_and_leaves_its_inputs_alone(self) -> None:
        for rule in self.rules():
            for pool, context in self.cases():
                given = [pool.items, pool.scores, context.history]
                before = deepcopy(given)
                one, two = rule.apply(pool, context), rule.apply(pool, context)
                assert np.array_equal(one.items, two.items)
                assert np.array_equal(one.scores, two.scores)
                for old, new in zip(before, given, strict=True):
                    np.testing.assert_array_equal(old, new)

    def test_works_in_a_reranker(self) -> None:
        """The answer has at most k items, with the model's own scores, and tells what moved."""
        for rule in self.rules():
            for pool, context in self.cases():
                scores = pool.scores * 3 + 7  # the scale is the model's
                answer = Reranker([rule], context.columns)(replace(pool, scores=scores), context)
                own = dict(zip(pool.items.tolist(), scores.tolist(), strict=True))
                assert len(answer.items) <= context.k
                assert [own[item] for item in answer.items.tolist()] == answer.scores.tolist()
                place = {item: i + 1 for i, item in enumerate(pool.items.tolist())}
                told = {m["item"]: (m["rule"], m["from"], m["to"]) for m in answer.moved}
                assert told == {
                    item: (type(rule).__name__, place[item], to + 1)
                    for to, item in enumerate(answer.items.tolist())
                    if place[item] != to + 1
                }

    def test_an_unknown_option_is_refused(self) -> None:
        use = f"{self.rule.__module__}:{self.rule.__name__}"
        with pytest.raises(ConfigError, match="no_such_option"):
            build_rules([{"use": use, "no_such_option": 1}])
