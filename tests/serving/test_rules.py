"""Re-ranking rules: the contract, and what each promises."""

from dataclasses import replace
from math import log
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bridgerec.config import Service, Workspace
from bridgerec.errors import ConfigError
from bridgerec.pipeline.stages import run_stage
from bridgerec.serving.boosts import Boost, BoostConfig, Freshness, FreshnessConfig
from bridgerec.serving.columns import Columns, levels
from bridgerec.serving.diversity import (
    MMR,
    Calibrated,
    CalibratedConfig,
    CategoryQuota,
    CategoryQuotaConfig,
    MMRConfig,
)
from bridgerec.serving.ranked import Ranked
from bridgerec.serving.rules import Context, Reranker, Rule, build_rules, standardise
from bridgerec.testing import RuleContract
from helpers import small_params

NOW = 1_630_000_000


class TestMMR(RuleContract):
    rule = MMR
    configs = (MMRConfig(), MMRConfig(least=0.6))


class TestCalibrated(RuleContract):
    rule = Calibrated
    configs = (
        CalibratedConfig(),
        CalibratedConfig(weight=1, depth=3, recency=0.8),
        CalibratedConfig(weight=0),
    )


class TestCategoryQuota(RuleContract):
    rule = CategoryQuota
    configs = (CategoryQuotaConfig(), CategoryQuotaConfig(most=1, depth=1, strict=False))


class TestBoost(RuleContract):
    rule = Boost
    configs = (
        BoostConfig(brands=("B1",), add=1.5),
        BoostConfig(categories=("left > jazz",), items=("i70",), multiply=0),
        BoostConfig(domains=("right",), add=-2, multiply=3),
    )


class TestFreshness(RuleContract):
    rule = Freshness
    configs = (FreshnessConfig(), FreshnessConfig(weight=-3, half_life_days=0.1))


COLUMNS = RuleContract().columns()
pools = st.builds(
    lambda items, scores: Ranked(
        np.array(items, dtype=np.int64),
        standardise(np.sort(np.array(scores[: len(items)], dtype=np.float32))[::-1]),
    ),
    st.permutations(range(80)).flatmap(lambda p: st.integers(0, 80).map(lambda n: p[:n])),
    st.lists(st.floats(-5, 5, width=32), min_size=80, max_size=80),
)
contexts = st.builds(
    lambda history, k, diversity: Context(COLUMNS, np.array(history, np.int64), k, NOW, diversity),
    st.lists(st.integers(0, 79), max_size=20, unique=True),
    st.integers(1, 30),
    st.floats(0, 1),
)
RULES: list[Rule] = [
    MMR(),
    Calibrated(),
    CategoryQuota(CategoryQuotaConfig(most=2)),
    Freshness(),
    Boost(BoostConfig(brands=("b2",), add=1)),
]


@settings(max_examples=150, deadline=None)
@given(pools, contexts, st.permutations(RULES))
def test_any_chain_of_rules_gives_a_part_of_the_pool(
    pool: Ranked, context: Context, rules: list[Rule]
) -> None:
    reranker = Reranker(rules, COLUMNS)
    one, two = reranker(pool, context), reranker(pool, context)
    items = one.items.tolist()
    assert items == two.items.tolist()
    assert one.moved == two.moved
    assert len(items) == len(set(items)) <= context.k
    assert set(items) <= set(pool.items.tolist())
    # the strict quota holds wherever it stands in the chain
    paths = [levels(COLUMNS.category[i])[:2] for i in items]
    assert all(paths.count(path) <= 2 for path in paths if path)
    # every step of an item follows on the one before
    for item in items:
        steps = [m for m in one.moved if m["item"] == item]
        place = pool.items.tolist().index(item) + 1
        for step in steps:
            assert step["from"] == place
            place = step["to"]


@settings(max_examples=100, deadline=None)
@given(pools, contexts)
def test_no_diversity_asked_changes_nothing(pool: Ranked, context: Context) -> None:
    answer = Reranker([MMR()], COLUMNS)(pool, replace(context, diversity=0.0))
    assert answer.items.tolist() == pool.items[: context.k].tolist()
    assert answer.moved == ()


@settings(max_examples=100, deadline=None)
@given(pools, contexts, st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_quotas_hold(pool: Ranked, context: Context, most: int, depth: int, strict: bool) -> None:
    rule = CategoryQuota(CategoryQuotaConfig(most=most, depth=depth, strict=strict))
    after = rule.apply(pool, context).items.tolist()
    paths = [levels(COLUMNS.category[i])[:depth] for i in after]
    allowed = [p for i, p in enumerate(paths) if not p or paths[:i].count(p) < most]
    if strict:
        assert allowed == paths
    else:  # those too many come last
        assert sorted(after) == sorted(pool.items.tolist())
        assert allowed == paths[: len(allowed)]


def mmr_by_definition(pool: Ranked, context: Context) -> list[int]:
    """A loop over the formula of the docstring."""
    assert context.columns.vectors_of is not None
    v, d = context.columns.vectors_of(pool.items).astype(float), context.diversity
    sim = v @ v.T
    sim /= sim[~np.eye(len(v), dtype=bool)].std()
    chosen: list[int] = []
    for _ in range(min(context.k, len(v))):
        left = [i for i in range(len(v)) if i not in chosen]
        values = [
            (1 - d) * pool.scores[i] - d * max((sim[i, j] for j in chosen), default=0) for i in left
        ]
        chosen.append(left[int(np.argmax(values))])
    return pool.items[chosen].tolist()


def random_pool(seed: int, size: int = 60) -> Ranked:
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.normal(size=size))[::-1].astype(np.float32)
    return Ranked(rng.permutation(80)[:size], standardise(scores))


def no_history(k: int = 10, diversity: float = 0.0, columns: Columns = COLUMNS) -> Context:
    return Context(columns, np.empty(0, dtype=np.int64), k, NOW, diversity)


@pytest.mark.parametrize("diversity", [0.1, 0.5, 0.9])
def test_mmr_equals_its_definition(diversity: float) -> None:
    for seed in range(10):
        pool, context = random_pool(seed), no_history(20, diversity)
        found = MMR().apply(pool, context).items[:20].tolist()
        assert found == mmr_by_definition(pool, context)


def test_a_house_may_set_a_least_diversity() -> None:
    house, asked = MMR(MMRConfig(least=0.5)), no_history(20, 0.5)
    for seed in range(5):
        pool = random_pool(seed)
        expected = MMR().apply(pool, asked).items.tolist()
        assert (
            house.apply(pool, no_history(20, 0.2)).items.tolist() == expected != pool.items.tolist()
        )


def test_rules_see_the_pool_alone() -> None:
    """Of 60 items the best 20; more where the answer is longer."""
    items = random_pool(3)
    lifted = Boost(BoostConfig(items=tuple(f"i{i}" for i in items.items[20:].tolist()), add=9))
    reranker = Reranker([lifted], COLUMNS, pool=20)
    assert reranker.wanted(10) == 20
    assert reranker(items, no_history(10)).items.tolist() == items.items[:10].tolist()
    assert reranker.wanted(40) == 40
    expected = [*items.items[20:40].tolist(), *items.items[:20].tolist()]
    assert reranker(items, no_history(40)).items.tolist() == expected


def likeness(items: NDArray[np.int64]) -> float:
    """Mean cosine of the pairs."""
    assert COLUMNS.vectors_of is not None
    v = COLUMNS.vectors_of(items)
    return float((v @ v.T)[np.triu_indices(len(v), 1)].mean())


def test_lists_grow_more_various_and_less_relevant_with_diversity() -> None:
    """On average over many pools, at every step, and by much in all."""
    like, score = [], []
    for diversity in (0.0, 0.25, 0.5, 0.75, 1.0):
        answers = [
            Reranker([MMR()], COLUMNS)(random_pool(seed), no_history(10, diversity))
            for seed in range(200)
        ]
        like.append(np.mean([likeness(a.items) for a in answers]))
        score.append(np.mean([a.scores.mean() for a in answers]))
    assert (np.diff(like) < 0).all()
    assert like[-1] < 0.5 * like[0]
    assert (np.diff(score) < 0).all()


def divergence(items: list[int], history: list[int], depth: int = 2) -> float:
    """KL(p || q) of category shares, q smoothed, as in the paper."""
    names = [[levels(COLUMNS.category[i])[:depth][-1:] for i in x] for x in (history, items)]
    kinds = [n for n in names[0] if n]
    total = 0.0
    for kind in set(kinds):
        p = kinds.count(kind) / len(kinds)
        q = 0.99 * names[1].count(kind) / len(items) + 0.01 * p
        total += p * log(p / q)
    return total


def test_calibration_brings_the_lists_categories_near_the_historys() -> None:
    rng, before, after, light = np.random.default_rng(5), [], [], []
    for seed in range(40):
        pool, history = random_pool(seed), rng.permutation(80)[:12]
        context = replace(no_history(12), history=history)
        before.append(divergence(pool.items[:12].tolist(), history.tolist()))
        for weight, found in ((0.9, after), (0.3, light)):
            rule = Calibrated(CalibratedConfig(weight=weight))
            items = rule.apply(pool, context).items[:12].tolist()
            found.append(divergence(items, history.tolist()))
    assert np.mean(after) < np.mean(light) < np.mean(before)
    assert np.mean(after) < 0.3 * np.mean(before)


def test_calibration_is_about_names_of_levels_in_any_domain() -> None:
    """Jazz alone was met on the left; jazz of the right comes first."""
    jazz = [i for i in range(80) if "Jazz" in COLUMNS.category[i]]
    pool = Ranked(np.arange(40, 80), standardise(np.linspace(1, 0, 40).astype(np.float32)))
    history = np.array([i for i in jazz if i < 40])
    found = Calibrated(CalibratedConfig(weight=1)).apply(
        pool, replace(no_history(5), history=history)
    )
    assert found.items[:5].tolist() == [i for i in jazz if i >= 40][:5]


def test_boost_by_hand() -> None:
    pool = Ranked(np.array([4, 1, 2]), np.array([1.0, 0.5, -1.0], dtype=np.float32))
    columns = replace(COLUMNS, brand=["", "one", "Two", "", "four"] + [""] * 75)
    found = Boost(BoostConfig(brands=("TWO",), add=1.75)).apply(pool, no_history(3, 0, columns))
    assert found.items.tolist() == [4, 2, 1]
    assert found.scores.tolist() == [1.0, 0.75, 0.5]
    found = Boost(BoostConfig(items=("i1",), multiply=2)).apply(pool, no_history(3, 0, columns))
    assert found.items.tolist() == [1, 4, 2]  # -1 + 1.5 * 2
    assert found.scores.tolist() == [2.0, 1.0, -1.0]


def test_freshness_by_hand() -> None:
    day = 86_400
    born = np.array([NOW - 10 * day, np.nan, NOW + day] + [np.nan] * 77)
    pool = Ranked(np.array([1, 0, 2]), np.array([0.4, 0.1, -0.9], dtype=np.float32))
    context = no_history(3, 0, replace(COLUMNS, born=born))
    found = Freshness(FreshnessConfig(weight=1, half_life_days=10)).apply(pool, context)
    assert found.items.tolist() == [0, 1, 2]
    assert found.scores == pytest.approx([0.6, 0.4, 0.1])
    assert Freshness().apply(pool, replace(context, now=None)).items.tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"use": "nowhere:Thing"}, "cannot be imported"),
        ({"use": "bridgerec.models.ease:EASE"}, "not a subclass of Rule"),
        ({"use": "MMR"}, "use"),
        ({"use": "bridgerec.serving.diversity:MMR", "lambda": 1}, r"service\.rules\[0\].*lambda"),
        ({"use": "bridgerec.serving.boosts:Boost", "add": 1}, "name brands"),
        ({"use": "bridgerec.serving.boosts:Boost", "brands": ["x"]}, "must change something"),
    ],
)
def test_a_wrong_rule_is_a_clear_error(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_rules([entry])


@pytest.mark.parametrize(
    ("rule", "columns", "message"),
    [
        (MMR(), replace(COLUMNS, vectors_of=None), "item vectors"),
        (CategoryQuota(), replace(COLUMNS, category=[""] * 80), "categories"),
        (Calibrated(), replace(COLUMNS, category=[""] * 80), "categories"),
        (Freshness(), replace(COLUMNS, born=np.full(80, np.nan)), "times"),
        (Boost(BoostConfig(brands=("nobody",), add=1)), COLUMNS, "nobody"),
    ],
)
def test_a_rule_that_cannot_work_here_says_so_at_the_start(
    rule: Rule, columns: Columns, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Reranker([rule], columns)


def test_rules_survive_the_manifest() -> None:
    """As params.yaml names them, through JSON, in their order."""
    service = Service.model_validate(
        {
            "rules": [
                {"use": "bridgerec.serving.boosts:Boost", "brands": ["b1"], "add": 2},
                {"use": "bridgerec.serving.diversity:CategoryQuota", "most": 1},
            ]
        }
    )
    rules = build_rules(service.model_dump(mode="json")["rules"])
    assert [type(rule) for rule in rules] == [Boost, CategoryQuota]
    assert rules[0].config == BoostConfig(brands=("b1",), add=2)
    assert rules[1].config.most == 1


def test_a_wrong_rule_is_refused_before_it_is_packaged(small_workspace: Workspace) -> None:
    wrong = {"use": "bridgerec.serving.diversity:MMR", "lambda": 0.5}
    path = small_workspace.root / "params.yaml"
    path.write_text(yaml.safe_dump(small_params(service={"rules": [wrong]})))
    with pytest.raises(ConfigError, match=r"service\.rules\[0\].*lambda"):
        run_stage(Workspace.open(small_workspace.root), "package", None, print)


def test_without_rules_the_models_best_are_answered() -> None:
    reranker, pool = Reranker([], COLUMNS), random_pool(0)
    assert reranker.wanted(10) == 10
    answer = reranker(pool, no_history(10))
    assert answer.items.tolist() == pool.items[:10].tolist()
    assert answer.scores.tolist() == pool.scores[:10].tolist()
