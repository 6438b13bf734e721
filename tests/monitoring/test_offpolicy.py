"""Off-policy estimates against a world whose truth is known."""

import numpy as np
import pytest

from bridgerec.data.simulation.catalogue import simulate_items
from bridgerec.data.simulation.clicks import ClickLog, ClickWorld
from bridgerec.data.simulation.people import simulate_people
from bridgerec.monitoring.offpolicy import ItemRewards, OffPolicy, off_policy


@pytest.fixture(scope="module")
def world() -> ClickWorld:
    rng = np.random.default_rng(0)
    people = simulate_people(300, 3, rng)
    return ClickWorld.of(people.tastes, simulate_items("films", 120, rng), 3, 6, rng)


def estimate(
    world: ClickWorld, log: ClickLog, target: np.ndarray, seed: int, resamples: int = 300
) -> OffPolicy:
    reward, position = log.clicked.astype(float), log.slot + 1
    model = ItemRewards(log.item, position, reward, log.request)
    there = target[log.person, log.slot]
    expected = (there * model.of(world.items[log.slot], position)).sum(1)
    logged = there[np.arange(len(there)), log.choice]
    predicted = (model.of(log.item, position), expected)
    return off_policy(
        reward, log.propensity, logged, log.request, predicted, resamples=resamples, seed=seed
    )


def test_intervals_hold_the_truth_as_often_as_promised(world: ClickWorld) -> None:
    logging, target = world.policy(0.3), world.policy(1.2)
    truth = world.value(target)
    assert truth > 1.2 * world.value(logging)  # so the log's own rate would be far off
    runs = 200
    held = np.zeros(3)
    errors = np.zeros((runs, 3))
    naive = 0
    for seed in range(runs):
        log = world.draw(logging, 800, np.random.default_rng(seed))
        found = estimate(world, log, target, seed)
        assert found.doubly_robust is not None
        three = (found.ips, found.snips, found.doubly_robust)
        held += [e.low <= truth <= e.high for e in three]
        errors[seed] = [e.value - truth for e in three]
        naive += bool(found.ips.low <= log.clicked.mean() <= found.ips.high)
    # 0.95 within 3.2 standard errors (0.0154); percentile intervals may be a little narrow
    assert np.all((held / runs > 0.90) & (held / runs < 0.995)), held / runs
    bias = np.abs(errors.mean(0)) / (errors.std(0) / np.sqrt(runs))
    assert np.all(bias < 3.5), bias
    assert errors[:, 2].std() < errors[:, 0].std()  # the reward model pays off
    assert naive < runs / 2


def test_the_same_policy_gives_the_logs_own_rate(world: ClickWorld) -> None:
    logging = world.policy(0.5)
    log = world.draw(logging, 500, np.random.default_rng(1))
    found = estimate(world, log, logging, 0)
    assert found.ips.value == pytest.approx(log.clicked.mean())
    assert found.snips.value == pytest.approx(log.clicked.mean())
    assert found.effective == pytest.approx(found.impressions)
    assert found.warnings == ()


def test_poor_overlap_is_said(world: ClickWorld) -> None:
    log = world.draw(world.policy(3), 600, np.random.default_rng(2))
    found = estimate(world, log, world.policy(-3), 0)
    assert any("poor overlap" in w for w in found.warnings)
    assert found.effective < 0.1 * found.impressions


def test_wrong_propensities_and_missing_support_are_said(world: ClickWorld) -> None:
    log = world.draw(world.policy(0.3), 2000, np.random.default_rng(3))
    logged = world.policy(1)[log.person, log.slot, log.choice]
    reward = log.clicked.astype(float)
    wrong = off_policy(reward, np.minimum(1.4 * log.propensity, 1), logged, log.request)
    assert any("mean weight" in w for w in wrong.warnings)
    # the log never shows choice 0, which the other policy likes
    policy = world.policy(0)
    policy[:, :, 0] = 0
    policy /= policy.sum(2, keepdims=True)
    log = world.draw(policy, 2000, np.random.default_rng(4))
    target = np.full(policy.shape, 0.1)
    target[:, :, 0] = 0.5
    logged = target[log.person, log.slot, log.choice]
    found = off_policy(log.clicked.astype(float), log.propensity, logged, log.request)
    assert found.mean_weight == pytest.approx(0.5)
    assert any("never does" in w for w in found.warnings)


def test_a_log_without_chance_tells_where_both_agree() -> None:
    reward = np.array([1.0, 0, 1, 0] * 50)
    same = np.array([1.0, 1, 0, 0] * 50)
    found = off_policy(reward, np.ones(200), same, np.arange(200) // 4)
    assert found.snips.value == pytest.approx(0.5)
    assert found.matched == 0.5
    assert found.doubly_robust is None
    assert "without chance" in found.warnings[0]


def test_impossible_probabilities_are_refused() -> None:
    one = np.ones(3)
    with pytest.raises(ValueError, match="propensities"):
        off_policy(one, np.zeros(3), one, np.arange(3))
    with pytest.raises(ValueError, match="at least one"):
        off_policy(np.empty(0), np.empty(0), np.empty(0), np.empty(0, dtype=int))


def test_the_reward_model_never_saw_the_request() -> None:
    rng = np.random.default_rng(0)
    request = np.arange(400)
    item, position = rng.integers(0, 5, 400), np.ones(400, dtype=int)
    clicked = (rng.random(400) < 0.3).astype(float)
    first = ItemRewards(item, position, clicked, request).of(item, position)
    fold = request % 5 == 2
    flipped = np.where(fold, 1 - clicked, clicked)
    second = ItemRewards(item, position, flipped, request).of(item, position)
    assert np.array_equal(first[fold], second[fold])
    assert not np.array_equal(first[~fold], second[~fold])
    unknown = ItemRewards(item, position, clicked, request).of(np.full(400, 99), position)
    assert np.all((unknown > 0.2) & (unknown < 0.4))
