"""Explanations: exact where they can be, measured elsewhere, and true."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from bridgerec.config import Workspace, load_params
from bridgerec.data.dataset import Cases, Catalogue, Histories, Split, Training
from bridgerec.data.vectors import read_vectors
from bridgerec.models.base import Candidate, build, load
from bridgerec.models.ease import EASE, EASEConfig
from bridgerec.models.ials import IALS, IALSConfig
from bridgerec.models.item_knn import ItemKNN, ItemKNNConfig
from bridgerec.models.popularity import Popularity, PopularityConfig
from bridgerec.models.sequential_rules import SequentialRules
from bridgerec.serving.columns import Columns, first_met
from bridgerec.serving.explain import Explainer, attribute
from bridgerec.serving.faithfulness import faithfulness
from bridgerec.serving.ranked import Ranked
from bridgerec.serving.words import Words, runs
from helpers import REPOSITORY

RIGHT = np.arange(30, 60)


def place(model: Candidate, history: list[int], item: int) -> float:
    """How many deviations above the mean of the right domain an item stands."""
    scores = model.score(Histories.of([history]), "right")[0].astype(float)
    return float((scores[item - 30] - scores.mean()) / scores.std())


@pytest.mark.parametrize(
    "model",
    [
        EASE(EASEConfig(regularization=5, text_weight=1, recency=0.9)),
        EASE(EASEConfig(regularization=5, max_rows=100)),
        EASE(EASEConfig(regularization=5, source_domains=False)),
        ItemKNN(ItemKNNConfig(neighbours=20, recency=0.8)),
        SequentialRules(),
    ],
    ids=lambda m: type(m).__name__,
)
def test_exact_contributions_add_up_to_the_place(training: Training, model: Candidate) -> None:
    model.train(training)
    history = [2, 41, 7, 33, 58]
    added = attribute(model, Histories.of([history]), "right", RIGHT)
    assert added.shape == (30, 5)
    for item in (30, 44, 59):
        assert added[item - 30].sum() == pytest.approx(place(model, history, item), abs=1e-3)
    assert np.abs(added).max() > 0.1


def test_other_contributions_are_what_leaving_out_changes(training: Training) -> None:
    model = IALS(IALSConfig(embedding_size=8, iterations=3, reg=5))
    model.train(training)
    history = [2, 41, 7, 33, 58]
    items = np.array([55, 31])
    added = attribute(model, Histories.of([history]), "right", items)
    for row, item in zip(added, items, strict=True):
        for i in range(5):
            fall = place(model, history, item) - place(model, history[:i] + history[i + 1 :], item)
            assert row[i] == pytest.approx(fall, abs=1e-4)


def test_only_the_newest_entries_are_looked_at(training: Training) -> None:
    for model in (EASE(EASEConfig(regularization=5, recency=0.9)), IALS(IALSConfig(reg=5))):
        model.train(training)
        asked = Histories.of([[2, 41, 7, 33, 58]])
        some, all_ = (attribute(model, asked, "right", RIGHT, most) for most in (2, 50))
        assert (some[:, :3] == 0).all()
        np.testing.assert_allclose(some[:, 3:], all_[:, 3:], atol=1e-5)


def test_the_moment_of_the_question_is_no_reason(training: Training) -> None:
    """Recent popularity depends on when it is asked, not on what was met."""

    class Measured(Popularity):
        def contributions(self, *_: object) -> None:  # type: ignore[override]
            return None

    model = Measured(PopularityConfig(half_life_days=10))
    model.train(training)
    asked = training.histories.batch(0, 1)
    earlier = asked.batch(0, 1).where(np.arange(len(asked.items)) < len(asked.items) - 1)
    assert not np.array_equal(model.score(asked, "right"), model.score(earlier, "right"))
    assert (attribute(model, asked, "right", RIGHT) == 0).all()


def columns(training: Training, **changes: list[str]) -> Columns:
    return replace(Columns.of(training.catalogue.items), **changes)


def test_an_explanation_names_reasons_and_moves(training: Training) -> None:
    model = ItemKNN()
    model.train(training)
    asked = Histories.of([[1, 33, 36, 39]])
    moves = (
        {"item": 42, "rule": "MMR", "from": 4, "to": 1},
        {"item": 45, "rule": "Boost", "from": 1, "to": 2},
    )
    ranked = Ranked(np.array([42, 45]), np.array([2.0, 3.0], dtype=np.float32), moves)
    found = Explainer(columns(training), named=2)(model, asked, "right", ranked)
    added = attribute(model, asked, "right", ranked.items)
    for answer, row, move in zip(found, added, moves, strict=True):
        assert answer["moved"] == [{k: move[k] for k in ("rule", "from", "to")}]
        strongest = np.argsort(-row)[:2]
        assert 0 not in strongest  # item 1 is of another taste
        assert answer["because"] == [
            {
                "domain": "right",
                "item_id": f"i{asked.items[i]}",
                "title": f"thing {asked.items[i]}",
                "contribution": pytest.approx(float(row[i]), abs=1e-4),
            }
            for i in strongest
        ]


def test_nothing_is_named_where_nothing_helped(training: Training) -> None:
    ranked = Ranked(np.array([42]), np.ones(1, dtype=np.float32))
    explainer = Explainer(columns(training))
    nothing = [{"because": [], "shared": [], "moved": [], "wish": None}]
    popularity, ease = Popularity(), EASE(EASEConfig(regularization=5, source_domains=False))
    for model in (popularity, ease):
        model.train(training)
    assert explainer(popularity, Histories.of([[1, 33]]), "right", ranked) == nothing
    assert explainer(ease, Histories.of([[]]), "right", ranked) == nothing
    assert explainer(ease, Histories.of([[0, 3]]), "right", ranked) == nothing  # source alone
    itself = explainer(ease, Histories.of([[42]]), "right", ranked)[0]["because"]
    assert itself == []


def test_new_items_are_explained_by_their_stand_ins(training: Training) -> None:
    model = EASE(EASEConfig(regularization=5))
    model.train(training)
    asked = Histories.of([[33, 4, 36]])
    wider = Columns.of(
        pl.concat([training.catalogue.items, training.catalogue.items[:1]], how="vertical")
    )
    near, weights = np.array([42, 50]), np.array([0.75, 0.25], dtype=np.float32)
    ranked = Ranked(np.array([60, 42]), np.ones(2, dtype=np.float32))
    new, old = Explainer(wider)(model, asked, "right", ranked, {60: (near, weights)})
    added = weights @ attribute(model, asked, "right", near)
    assert new["because"][0]["contribution"] == pytest.approx(added.max(), abs=1e-4)
    assert old == Explainer(wider)(model, asked, "right", Ranked(near[:1], ranked.scores[:1]))[0]
    # and in a history: what stands in for a new item is named as that item
    meant = Explainer(wider)(model, asked, "right", ranked, {60: (near, weights)}, {36: 60})[1]
    ids = [b["item_id"] for b in old["because"]]
    assert "i36" in ids
    assert [b["item_id"] for b in meant["because"]] == ["i0" if i == "i36" else i for i in ids]


def test_shared_levels_brand_and_rare_words(training: Training) -> None:
    n = 60
    category = ["Left > Plain"] * 30 + ["Right > Plain"] * 30
    title, brand = ["some thing"] * n, [""] * n
    category[3], category[40], category[41] = "Left > Jazz", "Right > jazz", "Right > Tea"
    title[3], title[40] = "The SAXOPHONE thing", "Saxophone, a thing with jazz"
    title[5], title[41] = "走近太空探索的指南", "太空探索 and 指针"
    brand[3], brand[40] = "Blue", "blue"
    explainer = Explainer(columns(training, category=category, title=title, brand=brand))
    assert explainer.shared(40, [3]) == ["jazz", "blue", "saxophone"]
    assert explainer.shared(40, [5]) == []
    assert explainer.shared(41, [5]) == ["太空探索"]
    # levels that most items of the domain have tell nothing
    assert explainer.shared(45, [44]) == []


def test_words_of_any_script() -> None:
    assert runs("Café-Noir 42 x 4k") == [["café"], ["noir"], ["4k"]]
    assert runs("读Kyoto游记") == [["读"], ["kyoto"], ["游记"]]
    assert runs("太空探索") == [["太空", "空探", "探索"]]
    texts = ["红茶的世界"] * 3 + ["世界地图", "red tea", "red sea", "black tea"]
    assert Words(texts).shared("世界红茶", ["红茶的世界"], 5) == []  # 3 and 4 of 7 texts
    words = Words([*texts, *["nothing"] * 240])
    assert words.shared("世界红茶", ["红茶的世界"], 5) == ["红茶", "世界"]  # 3 and 4 of 47
    assert words.shared("世界红茶", ["红茶的世界"], 1) == ["红茶"]
    assert words.shared("a red tea", ["black tea", "red sea"], 5) == ["red", "tea"]


def test_columns_say_what_is_unknown(training: Training) -> None:
    items = training.catalogue.items.with_columns(
        price=pl.Series([1.5, None, *[2.0] * 58]), brand=pl.Series([None] * 60, dtype=pl.String)
    )
    found = Columns.of(items)
    assert found.price[0] == 1.5
    assert np.isnan(found.price[1])
    assert found.brand == [""] * 60
    assert np.isnan(found.born).all()
    rows = replace(Histories.of([[1, 2], [2]]), timestamp=np.array([10, 30, 20]))
    assert first_met(rows, 4)[1:3].tolist() == [10, 20]
    assert np.isnan(first_met(rows, 4)[[0, 3]]).all()
    assert np.isnan(first_met(Histories.of([[1, 2]]), 4)).all()


def cases_of(training: Training) -> Cases:
    return Cases("right", training.users, training.histories, training.histories)


class Liar(EASE):
    """Says that what counts least counts most."""

    def contributions(
        self, histories: Histories, target: str, items: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        return -super().contributions(histories, target, items)


def test_the_measure_tells_truth_from_lies(training: Training) -> None:
    config = EASEConfig(regularization=5)
    for kind, honest in ((EASE, True), (Liar, False)):
        model = kind(config)
        model.train(training)
        found = faithfulness(model, cases_of(training), people=60, top=3)
        assert found is not None
        assert (found.removed.low > 0) == honest
        assert (found.alone.low > 0) == honest
        if not honest:
            assert found.removed.high < 0


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["temporal", "cold_start-films-50"])
def test_explanations_are_true_for_every_candidate(finished: Workspace, protocol: str) -> None:
    """Of the demo's parameters: those that the pipeline trained, and the others trained here."""
    catalogue = Catalogue.read(finished.prepared / "items.parquet")
    split = Split.read(finished.prepared, protocol, catalogue)
    training = replace(split.training(), vectors=read_vectors(finished, len(catalogue)))
    cases = split.cases("validation", "films")
    params = load_params(REPOSITORY / "params.yaml")
    for name in (*params.candidates, "blend"):
        folder = finished.candidate(name) / protocol
        if name in finished.params.competitors:
            model = load(
                next(p for p in (folder / "seed-0", folder) if (p / "model.json").exists())
            )
        else:
            options = params.models[name]
            short = {k: 1 for k in ("epochs", "iterations") if k in options.options}
            model = build(name, options.model_copy(update=short), params.seed)
            model.train(training)
        found = faithfulness(model, cases, people=60, top=3, seed=1)
        if name.startswith("popularity") or (name == "ease_target" and protocol != "temporal"):
            assert found is None, name  # the history has no say there
            continue
        assert found is not None, name
        assert found.people >= 50, name
        assert found.removed.low > 0, f"{name}: {found}"
        assert found.alone.low > 0, f"{name}: {found}"
