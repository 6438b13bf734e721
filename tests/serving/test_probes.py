"""How many lists are looked into: the fewest that find enough, of whatever there is."""

import numpy as np
import pytest

from bridgerec.serving import probes
from bridgerec.serving.copies import PROBED, inverted, listed
from bridgerec.serving.index import Index
from bridgerec.serving.probes import Asked, choose, reached


def pair(n: int, lists: int = 64, seed: int = 0) -> tuple[Index, Index]:
    """The same clustered items, ranked exactly and by lists."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((40, 32))
    vectors = centres[rng.integers(40, size=n)] + 0.5 * rng.standard_normal((n, 32))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    extras = 0.02 * rng.gamma(2, 2, (n, 2)).astype(np.float32)
    exact = Index(vectors, extras)
    return exact, Index(vectors, extras, inverted(listed(vectors, exact.extras), lists))


def people(exact: Index, count: int, seed: int = 1, spread: float = 3.0) -> Asked:
    """Questions near items; the larger `spread`, the less near."""
    rng = np.random.default_rng(seed)
    near = exact.vectors[rng.integers(len(exact.vectors), size=count)]
    queries = 14 * near + spread * rng.standard_normal(near.shape)
    hidden = [rng.choice(len(exact.vectors), 2).tolist() for _ in range(count)]
    return Asked(queries.astype(np.float32), np.full((count, 2), 5, dtype=np.float32), hidden)


def recall(exact: Index, fast: Index, asked: Asked) -> float:
    k = [probes.DEPTH] * len(asked.queries)
    both = [i.top(asked.queries, asked.weights, k, asked.hidden) for i in (fast, exact)]
    return float(np.mean(reached(*([b.scores for b in found] for found in both))))


def test_the_fewest_lists_that_find_enough_of_others_lists_too() -> None:
    exact, fast = pair(20_000)
    asked = people(exact, 300)
    chosen = choose(exact, fast, asked)
    assert fast.probes == chosen
    assert 1 < chosen < fast.lists
    assert recall(exact, fast, asked) >= probes.RECALL
    assert recall(exact, fast, people(exact, 300, seed=2)) >= probes.RECALL
    fast.probe(int(0.75 * chosen))
    assert recall(exact, fast, asked) < probes.RECALL + 0.01  # not many too many
    assert choose(exact, fast, asked) == chosen  # whatever it was before


def test_people_whose_lists_are_spread_need_more() -> None:
    exact, fast = pair(20_000)
    near, far = (choose(exact, fast, people(exact, 200, spread=s)) for s in (1.0, 4.0))
    assert near < far


def test_more_is_asked_for_than_a_list_holds() -> None:
    exact, fast = pair(1000, lists=25)  # of about 40 items each
    asked = people(exact, 50)
    chosen = choose(exact, fast, asked)
    assert chosen * 40 >= probes.DEPTH
    assert recall(exact, fast, asked) >= probes.RECALL


@pytest.mark.parametrize("n", [30, 90])
def test_few_items_are_one_or_two_lists(n: int) -> None:
    exact, fast = pair(n)
    chosen = choose(exact, fast, people(exact, 10))
    assert chosen == fast.lists <= 2
    assert recall(exact, fast, people(exact, 10)) == 1


def test_nobody_to_ask() -> None:
    exact, fast = pair(5000)
    assert choose(exact, fast, people(exact, 0)) == fast.probes == min(PROBED, fast.lists)


def test_what_cannot_be_found_ends_with_all_lists() -> None:
    exact, fast = pair(5000)
    assert choose(exact, fast, people(exact, 20), least=1.01) == fast.lists


def test_equal_scores_stand_in_for_each_other() -> None:
    wanted = [np.array([3, 2, 2], dtype=np.float32), np.empty(0, dtype=np.float32)]
    found = [np.array([3, 2], dtype=np.float32), np.empty(0, dtype=np.float32)]
    assert reached(found, wanted).tolist() == pytest.approx([2 / 3, 1])
