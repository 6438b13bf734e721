"""The service's parts without a server: items, merging, failing models, missing encoders."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from bridgerec.data.dataset import Catalogue, Histories, Training
from bridgerec.errors import ConfigError
from bridgerec.models.base import Candidate, CandidateConfig
from bridgerec.models.ease import EASE
from bridgerec.models.popularity import Popularity
from bridgerec.models.sequence import Sequence, SequenceConfig
from bridgerec.runtime import write_json
from bridgerec.serving.additions import nearest
from bridgerec.serving.app import make_app
from bridgerec.serving.batching import Job
from bridgerec.serving.canary import Plan, write_plan
from bridgerec.serving.embedder import Embedder
from bridgerec.serving.finishing import Finishing
from bridgerec.serving.live import Live
from bridgerec.serving.people import People
from bridgerec.serving.problems import Unavailable
from bridgerec.serving.ranked import Ranked
from bridgerec.serving.ranker import Recommender, Wish, merge, standardised, top_k
from bridgerec.serving.schemas import Filters, HistoryItem, RecommendRequest
from bridgerec.serving.shelf import Shelf
from bridgerec.serving.state import Event, NewItem, View, open_store
from bridgerec.serving.switch import follow

MET = {"domain": "left", "item_id": "i1"}
LAMP = {"domain": "left", "item_id": "lamp", "title": "A lamp"}
SERVICE: dict[str, Any] = {
    "k_max": 200,
    "max_history": 5,
    "max_batch": 3,
    "model_seconds": 5.0,
    "rules": [],
    "rules_pool": 200,
}
OF_SPACE = {"space": "here", "domains": ["left", "right"], "fields": ["title"]}


@pytest.fixture
def items(training: Training) -> pl.DataFrame:
    """The catalogue of `training`, with categories, brands, and prices for every second item."""
    return training.catalogue.items.with_columns(
        category=pl.Series([["Home > Lamps", "Home > Sofas", "Garden"][n % 3] for n in range(60)]),
        brand=pl.Series([["Acme", None][n % 2] for n in range(60)]),
        price=pl.Series([float(n) if n % 2 == 0 else None for n in range(60)]),
    )


@pytest.fixture
def recommender(training: Training, items: pl.DataFrame, tmp_path: Path) -> Recommender:
    """EASE for those with a history, popularity for the others; people are u0 to u119."""
    save_file(
        {"vectors": training.vectors.astype(np.float16)}, tmp_path / "vectors.safetensors"
    )  # fmt: skip
    write_json(tmp_path / "encoder.json", OF_SPACE)
    ease, popularity = EASE(), Popularity()
    for model in (ease, popularity):
        model.train(training)
    names = [f"u{n}" for n in range(len(training.histories))]
    return Recommender(
        release="r1",
        dossier={},
        service=SERVICE,
        models={"warm": ease, "cold_start": ease, "unknown": popularity},
        names={"warm": "ease", "cold_start": "ease", "unknown": "popularity"},
        people=People(training.histories, {n: i for i, n in enumerate(names)}, {}, names),
        shelf=Shelf(Catalogue(items), tmp_path / "vectors.safetensors"),
        folder=tmp_path,
    )


def addition(vector: NDArray[np.float32], **changes: Any) -> NewItem:
    found = {"domain": "right", "item_id": "new", "title": "New", "space": "here", **changes}
    return NewItem(**found, vector=vector.astype(np.float16).tobytes())


def put(recommender: Recommender, *rows: tuple[int, NewItem]) -> None:
    vectors = [np.frombuffer(i.vector, np.float16).astype(np.float32) for _, i in rows]
    items = [item for _, item in rows]
    recommender.shelf = recommender.shelf.taking(items, vectors, max(n for n, _ in rows))


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def served(live: Live) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(make_app(lambda: live))
    return httpx.AsyncClient(transport=transport, base_url="http://service")


def test_a_new_item_gets_the_weighted_mean_of_its_neighbours_scores(
    recommender: Recommender, training: Training
) -> None:
    assert training.vectors is not None
    put(recommender, (1, addition(training.vectors[35])))
    block = recommender.shelf.catalogue.block("right")
    scores = recommender.models["warm"].score(training.histories.batch(0, 1), "right")[0]
    cosine = training.vectors[block].astype(np.float64) @ training.vectors[35]
    near = np.argsort(-cosine, kind="stable")[:10]
    weight = np.maximum(cosine[near], 0)
    expected = (scores[near] * weight).sum() / weight.sum()
    borrowed = recommender.shelf.added.borrowed("right")
    assert borrowed is not None
    found = borrowed.scores(scores)
    np.testing.assert_allclose(found, [expected], rtol=2e-3)
    assert recommender.shelf.added.borrowed("left") is None


def test_a_new_item_follows_its_taste(recommender: Recommender, training: Training) -> None:
    assert training.vectors is not None
    put(recommender, *[(n, addition(training.vectors[30 + n], item_id=f"n{n}")) for n in range(3)])
    for user in range(6):  # person n likes items n % 3
        request = {"target": "right", "user_id": f"u{user}", "k": 60, "exclude_seen": False}
        found = ids(recommender.recommend(request))
        order = [i for i in found if i.startswith("n")]
        assert order[0] == f"n{user % 3}"
        assert found.index(order[0]) < 12


def test_few_neighbours_and_no_likeness() -> None:
    block = np.eye(3, 4, dtype=np.float32)
    near, weights = nearest(block @ np.array([0.6, 0.8, 0, 0], dtype=np.float32))
    assert near[:3].tolist() == [1, 0, 2]
    assert weights.sum() == pytest.approx(1)
    assert weights[:2] == pytest.approx([0.8 / 1.4, 0.6 / 1.4])
    near, weights = nearest(block @ np.array([0, 0, 0, 1], dtype=np.float32))
    assert weights[:3] == pytest.approx([1 / 3] * 3)


def test_an_item_of_the_catalogue_can_be_changed(
    recommender: Recommender, training: Training
) -> None:
    assert training.vectors is not None
    new = addition(training.vectors[0], item_id="i40", title="Other", brand="Best", price=2.0)
    put(recommender, (7, new))
    shelf = recommender.shelf
    assert shelf.seen == 7
    assert shelf.index["right"]["i40"] == 40
    assert shelf.show([40])[0]["title"] == "Other"
    assert shelf.fits(np.array([40, 41]), Filters(brands=["best"])).tolist() == [True, False]
    np.testing.assert_allclose(shelf.vector(np.array([40]))[0], training.vectors[0], atol=1e-3)
    assert len(shelf.choices("right")) == 30


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({"categories": ["home"]}, lambda n: n % 3 < 2),
        ({"categories": ["Home > L", "garden"]}, lambda n: n % 3 != 1),
        ({"brands": ["ACME"]}, lambda n: n % 2 == 0),
        ({"price_min": 40}, lambda n: n % 2 == 0 and n >= 40),
        ({"price_min": 34, "price_max": 36}, lambda n: n in (34, 36)),
        ({"brands": ["Acme"], "categories": ["Gar"], "price_max": 40}, lambda n: n in (32, 38)),
        ({"brands": ["nobody"]}, lambda n: False),
    ],
)  # fmt: skip
def test_filters_keep_what_fits(recommender: Recommender, filters: Any, kept: Any) -> None:
    answer = recommender.recommend({"target": "right", "k": 60, "filters": filters})
    assert set(ids(answer)) == {f"i{n}" for n in range(30, 60) if kept(n)}


def test_new_items_pass_the_same_filters(recommender: Recommender, training: Training) -> None:
    assert training.vectors is not None
    item = addition(training.vectors[30], brand="Acme", category="Attic", price=100.0)
    put(recommender, (1, item))
    for filters in ({"price_min": 99}, {"categories": ["attic"]}):
        answer = recommender.recommend({"target": "right", "filters": filters})
        assert ids(answer) == ["new"]
        assert answer["items"][0]["price"] == 100.0
    assert ids(recommender.recommend({"target": "right", "allow": ["new", "i3", "i33"]})) in (
        ["new", "i33"], ["i33", "new"],
    )  # fmt: skip
    assert "new" not in ids(recommender.recommend({"target": "right", "k": 60, "exclude": ["new"]}))


def test_live_events_count_like_stored_ones(recommender: Recommender, training: Training) -> None:
    rows = training.histories.batch(4, 5)
    assert rows.timestamp is not None
    index = recommender.shelf.catalogue.items
    events = tuple(
        Event(f"{n}", "someone", index["domain"][i], index["item_id"][i], t)
        for n, (i, t) in enumerate(zip(rows.items.tolist(), rows.timestamp.tolist(), strict=True))
    )
    live = recommender.recommend({"target": "right", "user_id": "someone"}, View(events))
    stored = recommender.recommend({"target": "right", "user_id": "u4"})
    assert live["items"] == stored["items"]
    assert live["notes"] == []
    gone = recommender.recommend({"target": "right", "user_id": "u4"}, View(forgotten=True))
    assert gone["route"] == "unknown"
    again = recommender.recommend({"target": "right", "user_id": "u4"}, View(events, True))
    assert again["items"] == stored["items"]


@pytest.fixture(scope="module")
def teller(training: Training) -> Sequence:
    """Knows bought items (odd ones) from liked ones."""
    kind = (training.histories.items % 2).astype(np.int8)
    told = replace(training.histories, event_kind=kind)
    config = SequenceConfig(
        embedding_size=16, epochs=12, batch_size=32, learning_rate=0.02,
        event_input=True, event_weight=0.5,
    )  # fmt: skip
    model = Sequence(config, seed=3)
    model.train(replace(training, histories=told, event_kinds=("like", "purchase")))
    return model


@pytest.fixture
def telling(recommender: Recommender, teller: Sequence, training: Training) -> Recommender:
    kind = (training.histories.items % 2).astype(np.int8)
    stored = replace(training.histories, event_kind=kind)
    people = replace(recommender.people, stored=stored, kinds={"like": 2.0, "purchase": 3.0})
    return replace(recommender, people=people, models={**recommender.models, "warm": teller})


def test_who_asks_for_purchases_gets_what_is_bought(telling: Recommender) -> None:
    asked = {"target": "right", "user_id": "u3", "k": 5, "exclude_seen": False}
    found = {k: telling.recommend({**asked, "kind": k}) for k in ("like", "purchase")}
    bought = {k: [int(i[1:]) % 2 for i in ids(answer)] for k, answer in found.items()}
    assert sum(bought["purchase"]) >= 4
    assert sum(bought["like"]) <= 1
    assert found["like"]["notes"] == []
    nobody = telling.recommend({"target": "right", "kind": "like"})
    assert "popularity does not tell kinds of events apart" in nobody["notes"][0]
    with pytest.raises(ConfigError, match=r"unknown kind of event 'gift'.*purchase"):
        telling.recommend({**asked, "kind": "gift"})


def test_kinds_come_from_the_release_from_events_and_with_the_request(
    telling: Recommender, recommender: Recommender
) -> None:
    people, shelf = telling.people, telling.shelf
    own = people.packaged(0).items
    first, second = own[:2]
    free = [i for i in range(60) if i not in own]
    view = View(
        (Event("e", "u0", "left" if first < 30 else "right", f"i{first}", 10**12, "purchase"),)
    )
    sent = [
        HistoryItem(domain="left" if i < 30 else "right", item_id=f"i{i}", kind=kind)
        for i, kind in ((second, "like"), (free[0], "gift"), (free[1], None))
    ]
    past = people.past(shelf, view, sent, None, "u0").histories
    assert past.event_kind is not None
    found = dict(zip(past.items.tolist(), past.event_kind.tolist(), strict=True))
    assert found[first] == 1
    assert found[second] == second % 2  # a like later does not undo a purchase
    assert found[free[0]] == found[free[1]] == -1
    assert all(found[i] == i % 2 for i in own[2:])
    silent = recommender.people.past(shelf, view, sent, None, "u0").histories
    assert silent.event_kind is None


def test_events_keep_their_place_in_time(recommender: Recommender) -> None:
    people, shelf = recommender.people, recommender.shelf
    packaged = people.packaged(0)
    middle = (packaged.times[3] + packaged.times[4]) // 2
    item = next(i for i in range(30) if i not in packaged.items)
    view = View((Event("e", "u0", "left", f"i{item}", middle),))
    past = people.past(shelf, view, [], None, "u0")
    assert past.items.tolist().index(item) == 4
    future = View((Event("e", "u0", "left", f"i{item}", 10**12),))
    late = people.past(shelf, future, [], None, "u0").histories
    assert late.items[-1] == item
    assert late.timestamp is not None
    assert late.timestamp.max() == people.clock == late.moment[0]


def test_an_added_item_in_a_history_is_hidden_and_its_neighbour_speaks(
    recommender: Recommender, training: Training
) -> None:
    assert training.vectors is not None
    put(recommender, (1, addition(training.vectors[33])))
    view = View((Event("e", "x", "right", "new", 5),))
    past = recommender.people.past(recommender.shelf, view, [], None, "x")
    assert past.items.tolist() == [60]
    assert past.histories.items.tolist() == [33]
    answer = recommender.recommend({"target": "right", "user_id": "x", "k": 60}, view)
    assert answer["route"] == "warm"
    assert "new" not in ids(answer)
    assert "i33" in ids(answer)


def test_merging_keeps_each_lists_own_order() -> None:
    def ranked(*scores: float) -> Ranked:
        return Ranked(np.arange(len(scores)), np.array(scores, dtype=np.float32))

    # in the second list a rule has moved a weak item to the top
    both = merge([ranked(3, 2, 1), ranked(0.5, 2.5, 1.5)], 5)
    assert both == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert merge([ranked(1, 9, 3)], 2) == [(0, 0), (0, 1)]
    assert merge([ranked(), ranked(1)], 3) == [(1, 0)]


def test_top_k_leaves_closed_places_out_and_breaks_ties_by_place() -> None:
    scores = np.array([1, 5, 5, 3, 9], dtype=np.float32)
    open_ = np.array([True, True, True, True, False])
    assert top_k(scores, open_, 3).tolist() == [1, 2, 3]
    assert top_k(scores, open_, 99).tolist() == [1, 2, 3, 0]
    assert top_k(scores, ~open_ & open_, 3).tolist() == []
    assert standardised(np.ones((1, 4), dtype=np.float32)).tolist() == [[0, 0, 0, 0]]


class Broken(Candidate):
    """Fails, gives no numbers, or takes its time."""

    config_class = CandidateConfig
    how = "raise"

    def fit(self, training: Training) -> None: ...

    def score(self, histories: Histories, target: str) -> NDArray[np.float32]:
        if self.how == "raise":
            raise ValueError("person-4711")
        if self.how == "sleep":
            time.sleep(1)
        return np.full((1, 30), np.nan, dtype=np.float32)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None: ...


@pytest.mark.parametrize(
    ("how", "word"), [("raise", "failed"), ("nan", "failed"), ("sleep", "longer")]
)
def test_the_baseline_answers_where_the_model_cannot(
    recommender: Recommender,
    tmp_path: Path,
    how: str,
    word: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = Broken()
    broken.how = how
    models = {**recommender.models, "warm": broken}
    service = {**SERVICE, "model_seconds": 0.2}
    live = Live(replace(recommender, models=models, service=service), Embedder(tmp_path))
    request = RecommendRequest(target="right", user_id="u3")
    answer = asyncio.run(live.recommend(request, "q1"))
    assert answer["route"] == "fallback"
    assert answer["candidate"] == "popularity"
    assert word in answer["notes"][-1]
    if word == "failed":
        assert "request q1: scoring failed" in caplog.text
    assert "4711" not in caplog.text  # messages may hold what was sent
    seen = recommender.people.packaged(3).items
    assert not set(ids(answer)) & {f"i{i}" for i in seen}
    plain = recommender.recommend({"target": "right", "k": 60})
    assert ids(answer) == [i for i in ids(plain) if i in ids(answer)]


def test_a_named_release_answers_for_itself_even_where_it_fails(
    recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others get main's answer, and the trial ends; whoever names a release sees what it does."""
    broken = replace(recommender, release="r2", models={**recommender.models, "warm": Broken()})
    monkeypatch.setattr(Recommender, "open", lambda folder: broken)
    monkeypatch.setattr(Recommender, "warm", lambda self: None)
    bento, control = tmp_path / "b", tmp_path / "canary.json"
    (bento / "src" / "bundle").mkdir(parents=True)
    (bento / "bento.yaml").write_text("name: x\n")
    write_json(bento / "src" / "bundle" / "manifest.json", {"release": "r2"})
    write_plan(control, Plan(bento=str(bento), weight=1))
    live = Live(recommender, Embedder(tmp_path), control=control)
    live.releases.follower.look(now=True)
    assert live.releases.follower.wait(5)
    asked = RecommendRequest(target="right", user_id="u3")

    def route(release: str | None) -> tuple[str, str]:
        request = asked.model_copy(update={"release": release})
        answer = asyncio.run(live.recommend(request, "q1"))
        return answer["release"], answer["route"]

    assert [route("r2") for _ in range(6)] == [("r2", "fallback")] * 6
    assert route("r1") == ("r1", "warm")
    assert live.releases.status()["errors"] == 0
    assert route(None) == ("r1", "warm")
    assert live.releases.status()["errors"] == 1
    live.close()


def test_the_guard_tells_who_may_name_a_release(recommender: Recommender, tmp_path: Path) -> None:
    live = Live(recommender, Embedder(tmp_path))

    async def ask() -> None:
        async with served(live) as client:  # an application without the guard: nobody may
            asked = {"target": "right", "release": "r1"}
            assert (await client.post("/recommend", json=asked)).status_code == 403
            assert (await client.post("/recommend", json={"target": "right"})).status_code == 200

    asyncio.run(ask())


def test_without_an_encoder_everything_else_works(recommender: Recommender, tmp_path: Path) -> None:
    record = {**OF_SPACE, "encoder": {"model": "package:no_such_weights"}, "max_characters": 99}
    write_json(tmp_path / "encoder.json", record)
    store = open_store(str(tmp_path / "state"))
    live = Live(recommender, Embedder(tmp_path, patience=60), store)

    async def ask() -> None:
        async with served(live) as client:
            search = await client.post("/search", json={"text": "lamp", "target": "left"})
            item = {"domain": "left", "item_id": "n", "title": "A lamp"}
            posted = await client.post("/items", json=item)
            for refused in (search, posted):
                assert refused.status_code == 503
                assert "no_such_weights" in refused.text
                assert "Install" in refused.json()["remedy"]
            answer = await client.post("/recommend", json={"target": "left", "wish": "lamp"})
            assert answer.status_code == 200
            assert "the wish was not used" in answer.json()["notes"][0]
            similar = await client.post("/similar", json={"domain": "left", "item_id": "i3"})
            assert len(similar.json()["items"]) == 10
            assert (await client.get("/items/n")).status_code == 404

    asyncio.run(ask())
    live.close()


def test_items_of_another_space_are_embedded_again_or_left_out(
    recommender: Recommender, tmp_path: Path, training: Training
) -> None:
    assert training.vectors is not None
    store = open_store(str(tmp_path / "state"))

    class Reads(Embedder):
        async def _ready(self, patience: float | None = None) -> Any: ...

        async def vectors(self, texts: Any, domain: Any) -> Any:
            assert (list(texts), domain.tolist()) == (["Old"], [1])
            return training.vectors[[31]]  # type: ignore[index]

    async def ask(embedder: Embedder) -> list[str]:
        live = Live(replace(recommender, shelf=Shelf(recommender.shelf.catalogue,
                    tmp_path / "vectors.safetensors")), embedder, store)  # fmt: skip
        async with served(live) as client:
            answer = await client.post("/recommend", json={"target": "right", "k": 60})
            return ids(answer.json())

    async def both() -> None:
        await store.add_item(addition(training.vectors[0], space="there", title="Old"))
        await store.add_item(addition(training.vectors[0], domain="elsewhere", item_id="lost"))
        write_json(tmp_path / "encoder.json", {**OF_SPACE, "max_characters": 99})
        assert "new" in await ask(Reads(tmp_path))
        write_json(tmp_path / "encoder.json", {})
        assert "new" not in await ask(Embedder(tmp_path))

    asyncio.run(both())
    store.close()


@pytest.fixture
def mirrored(
    recommender: Recommender, training: Training, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], None]:
    """Packages release r2, whose space holds the first one's vectors mirrored, into a folder."""

    def package(bento: Path) -> None:
        assert training.vectors is not None
        bundle = bento / "src" / "bundle"
        bundle.mkdir(parents=True, exist_ok=True)
        (bento / "bento.yaml").write_text("name: x\n")
        write_json(bundle / "manifest.json", {"release": "r2"})
        write_json(bundle / "encoder.json", {**OF_SPACE, "space": "there", "max_characters": 99})
        stored = -training.vectors.astype(np.float16)
        save_file({"vectors": stored}, bundle / "vectors.safetensors")
        shelf = Shelf(recommender.shelf.catalogue, bundle / "vectors.safetensors")
        second = replace(recommender, release="r2", folder=bundle, shelf=shelf)
        monkeypatch.setattr(Recommender, "open", lambda folder: second)

    return package


def test_words_and_added_items_go_to_the_encoder_of_the_release_that_answers(
    recommender: Recommender,
    mirrored: Callable[[Path], None],
    tmp_path: Path,
    training: Training,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two releases of different spaces: the second one's vectors are the first one's, mirrored."""
    assert training.vectors is not None
    vectors, loading = training.vectors, threading.Event()
    mirrored(tmp_path / "b")

    async def mean(self: Embedder, texts: Any, domain: Any) -> Any:
        sign = 1 if self.space == "here" else -1
        return np.stack([sign * vectors[40]] * len(texts))

    async def instantly(self: Embedder, patience: float | None = None) -> Any:
        if patience == 0 and not loading.is_set():
            raise Unavailable("the text encoder is still being loaded", "Wait.", 5)

    async def nothing(self: Embedder, text: str) -> None: ...

    monkeypatch.setattr(Embedder, "vectors", mean)
    monkeypatch.setattr(Embedder, "_ready", instantly)
    monkeypatch.setattr(Embedder, "unread", nothing)
    store, control = open_store(str(tmp_path / "state")), tmp_path / "canary.json"
    write_json(tmp_path / "encoder.json", {**OF_SPACE, "max_characters": 99})
    live = Live(recommender, Embedder(tmp_path), store, control=control)
    assert recommender.folder == tmp_path
    item = {"domain": "right", "item_id": "new", "title": "A new thing"}

    async def ask() -> None:
        async with served(live) as client:

            async def found(path: str = "/search", **body: Any) -> tuple[str, list[str]]:
                answer = await client.post(path, json=body)
                assert answer.status_code == 200, answer.text
                return answer.json()["release"], ids(answer.json())

            words = {"text": "thing", "target": "right", "k": 1, "personal": 0}
            assert (await client.post("/items", json=item)).status_code == 200
            assert await found(**words) in (("r1", ["i40"]), ("r1", ["new"]))
            follow(control, tmp_path / "b")
            live.releases.move.look(now=True)
            assert live.releases.move.wait(5)
            # while its encoder is being loaded, the added item waits, and nothing else does
            assert await found(**words) == ("r2", ["i40"])
            everything = {"target": "right", "k": 60}
            assert "new" not in (await found("/recommend", **everything))[1]
            loading.set()
            release, shown = await found("/recommend", **everything)
            assert release == "r2"
            assert "new" in shown
            near = {"domain": "right", "item_id": "i40", "k": 1}
            release, shown = await found("/similar", **near)
            assert (release, shown) == ("r2", ["new"])  # it has the second space's vector
            assert (await found("/recommend", **everything, wish="thing"))[0] == "r2"

    asyncio.run(ask())
    live.close()


def test_a_release_packaged_over_another_one_has_its_own_encoder(
    recommender: Recommender,
    mirrored: Callable[[Path], None],
    tmp_path: Path,
    training: Training,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`artifacts/bento` is one folder for whatever is packaged: its path does not tell a space."""
    assert training.vectors is not None
    vectors, bundle = training.vectors, tmp_path / "bento" / "src" / "bundle"
    bundle.mkdir(parents=True)
    write_json(bundle / "encoder.json", {**OF_SPACE, "max_characters": 99})
    first = replace(recommender, folder=bundle)

    async def there(self: Embedder, texts: Any, domain: Any) -> Any:
        assert self.space == "there"
        return np.stack([-vectors[40]] * len(texts))

    async def instantly(self: Embedder, patience: float | None = None) -> None: ...

    monkeypatch.setattr(Embedder, "vectors", there)
    monkeypatch.setattr(Embedder, "_ready", instantly)
    store, control = open_store(str(tmp_path / "state")), tmp_path / "canary.json"
    live = Live(first, Embedder(bundle), store, control=control)

    async def likest(client: httpx.AsyncClient) -> tuple[str, str, float]:
        near = {"domain": "right", "item_id": "new", "k": 1}
        answer = (await client.post("/similar", json=near)).json()
        return answer["release"], answer["items"][0]["item_id"], answer["items"][0]["score"]

    async def ask() -> None:
        await store.add_item(addition(vectors[40]))
        async with served(live) as client:
            assert await likest(client) == ("r1", "i40", pytest.approx(1, abs=1e-3))
            mirrored(tmp_path / "bento")
            follow(control, tmp_path / "bento")
            live.releases.move.look(now=True)
            assert live.releases.move.wait(5)
            assert await likest(client) == ("r2", "i40", pytest.approx(1, abs=1e-3))
            rest = await client.post("/recommend", json={"target": "right", "k": 60})
            assert "new" in ids(rest.json())

    asyncio.run(ask())
    live.close()


def test_without_a_store_only_what_needs_it_is_refused(
    recommender: Recommender, tmp_path: Path
) -> None:
    live = Live(recommender, Embedder(tmp_path))

    async def ask() -> None:
        async with served(live) as client:
            event = {"user_id": "u", "domain": "left", "item_id": "i1"}
            for answer in (
                await client.post("/events", json=event),
                await client.get("/users/u0"),
                await client.delete("/users/u0"),
                await client.post("/feedback", json={"request_id": "x", "clicked": [
                    {"domain": "left", "item_id": "i1"}]}),
            ):  # fmt: skip
                assert answer.status_code == 503
                assert "BRIDGEREC_STATE" in answer.json()["remedy"]
            assert (await client.post("/recommend", json={"target": "left"})).status_code == 200

    asyncio.run(ask())


def test_a_store_that_fails_is_told(recommender: Recommender, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "state"))
    live = Live(recommender, Embedder(tmp_path), store)
    other = sqlite3.connect(tmp_path / "state" / "state.sqlite")
    other.execute("DROP TABLE events")
    other.close()

    async def ask() -> None:
        async with served(live) as client:
            event = {"user_id": "u", "domain": "left", "item_id": "i1"}
            answer = await client.post("/events", json=event)
            assert answer.status_code == 503
            assert "state.sqlite" in answer.json()["message"]

    asyncio.run(ask())


def test_what_is_wrong_is_named_by_its_place(recommender: Recommender, tmp_path: Path) -> None:
    live = Live(recommender, Embedder(tmp_path), open_store(str(tmp_path / "state")))

    async def ask() -> None:
        async with served(live) as client:
            for path, body, words in (
                ("/recommend", {"target": 5}, "target: Input should be a valid string"),
                ("/recommend", {"target": "left", "kk": 1}, "kk: Extra inputs"),
                ("/search", {"target": "left", "text": " "}, "text: is blank"),
                ("/items", {**LAMP, "domain": "moon"}, "there is no domain 'moon'; the domains"),
                ("/events", {"user_id": "u"}, "event.domain: Field required"),
                ("/events", {"events": [{"user_id": "u"}]}, "events.events.0.domain: Field"),
            ):
                answer = await client.post(path, json=body)
                assert answer.status_code == 422
                assert answer.json()["message"].startswith(words)

    asyncio.run(ask())
    live.close()


def test_added_items_are_read_once_by_a_worker_that_starts(
    recommender: Recommender, tmp_path: Path, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks while another request takes them in waits for that, and knows them, too."""
    assert training.vectors is not None
    store, vector = open_store(str(tmp_path / "state")), training.vectors[0]
    live, read, taken = Live(recommender, Embedder(tmp_path), store), [0], asyncio.Event()
    look = store.look

    async def counted(*asked: Any) -> View:
        view = await look(*asked)
        read[0] += len(view.items)
        return view

    async def vectors_of(items: list[NewItem]) -> list[NDArray[np.float32]]:
        await taken.wait()
        return [vector] * len(items)

    monkeypatch.setattr(store, "look", counted)
    monkeypatch.setattr(live.embedder, "vectors_of", vectors_of)

    async def ask() -> None:
        for i in range(5):
            await store.add_item(addition(vector, item_id=f"n{i}"))
        asked = RecommendRequest(target="right", allow=["n3"], k=1)
        tasks = [asyncio.create_task(live.recommend(asked, f"q{i}")) for i in range(9)]
        await asyncio.sleep(0.1)
        taken.set()
        for answer in await asyncio.gather(*tasks):
            assert ids(answer) == ["n3"]

    asyncio.run(ask())
    live.close()
    assert read == [5]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"history": [{**MET, "zz": 1}]}, "history.0.zz: Extra inputs"),
        ({"filters": {"zz": 1}}, "filters.zz: Extra inputs"),
        ({"k": "5"}, "k: Input should be a valid integer"),
        ({"k": 5.5}, "k: Input should be a valid integer"),
        ({"k": True}, "k: Input should be a valid integer"),
        ({"explain": "yes"}, "explain: Input should be a valid boolean"),
        ({"diversity": "0.5"}, "diversity: Input should be a valid number"),
        ({"filters": {"price_max": "9"}}, "filters.price_max: Input should be a valid number"),
        ({"history": [{**MET, "timestamp": "7"}]}, "history.0.timestamp: Input should be a valid"),
        ({"user_id": "u" * 501}, "user_id: String should have at most 500"),
        ({"history": [{**MET, "item_id": "i" * 501}]}, "history.0.item_id: String should have at"),
        ({"exclude": ["x"] * 10_001}, "exclude: List should have at most 10000"),
        ({"filters": {"categories": ["x"] * 201}}, "filters.categories: Tuple should have at most"),
        ({"target": ["left"] * 51}, "target: Input should be a valid string; target: List should"),
    ],
    ids=lambda value: value.partition(":")[0] if isinstance(value, str) else next(iter(value)),
)
def test_nothing_is_unknown_converted_or_too_long(
    recommender: Recommender, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    live = Live(recommender, Embedder(tmp_path))

    async def ask() -> None:
        async with served(live) as client:
            answer = await client.post("/recommend", json={"target": "left", **changes})
            assert answer.status_code == 422
            assert answer.json()["message"].startswith(words)

    asyncio.run(ask())
    live.close()


@pytest.mark.parametrize(
    "most",
    [
        {"user_id": "u" * 500},
        {"k": 5.0},  # an integer, as /openapi.json has it
        {"exclude": ["x"] * 10_000},
        {"filters": {"categories": ["Home"] * 200}},
        {"target": ["left"] * 50},
        {"history": [{**MET, "timestamp": 7}] * SERVICE["max_history"]},
    ],
    ids=lambda most: next(iter(most)),
)
def test_as_much_as_is_allowed_is_answered(
    recommender: Recommender, tmp_path: Path, most: dict[str, Any]
) -> None:
    live = Live(recommender, Embedder(tmp_path))

    async def ask() -> None:
        async with served(live) as client:
            answer = await client.post("/recommend", json={"target": "left", **most})
            assert answer.status_code == 200, answer.text

    asyncio.run(ask())
    live.close()


def test_with_a_wish_reasons_add_up_to_the_score_that_ranks(
    recommender: Recommender, training: Training
) -> None:
    """A history of one item: its contribution and that of the words are all there is."""
    assert training.vectors is not None
    sent = [HistoryItem(domain="right", item_id="i31")]
    vector = training.vectors[40]

    def ask(history: list[HistoryItem], share: float) -> dict[str, Any]:
        request = RecommendRequest(
            target="right", history=history, k=20, explain=True, exclude_seen=False
        )
        wish = Wish({"right": vector}, share)
        question = replace(recommender.ask(request), wish=wish)
        return recommender.finish(question, recommender.score(question))

    near = standardised(recommender.shelf.cosines(vector, "right")[None])[0]
    named = 0
    for item in ask(sent, 0.3)["items"]:
        why, place = item["explanation"], int(item["item_id"][1:]) - 30
        assert why["wish"] == pytest.approx(0.7 * near[place], abs=1e-4)
        for reason in why["because"]:
            assert reason["contribution"] + why["wish"] == pytest.approx(item["score"], abs=1e-3)
            named += 1
    assert named >= 3
    words_alone = ask(sent, 0.0)["items"]
    assert all(item["explanation"]["because"] == [] for item in words_alone)
    plain = recommender.recommend({"target": "right", "history": sent, "explain": True})
    assert {item["explanation"]["wish"] for item in plain["items"]} == {None}


@pytest.mark.parametrize("at", ["cosines", "fits"])
def test_an_item_that_comes_while_a_question_is_answered_is_for_the_next_one(
    recommender: Recommender, training: Training, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """An explained question is answered in a thread: meanwhile the shelf may grow."""
    assert training.vectors is not None
    vector, real, come = training.vectors[40], getattr(Shelf, at), []

    def interrupted(self: Shelf, *given: Any) -> Any:
        found = real(self, *given)
        if not come:
            come.append(addition(vector))
            put(recommender, (1, come[0]))
            put(recommender, (2, addition(vector, item_id="i35", title="Other", price=7.0)))
        return found

    monkeypatch.setattr(Shelf, at, interrupted)
    request = RecommendRequest(target="right", user_id="u4", k=60, explain=True, diversity=0.5)

    def answer() -> dict[str, tuple[str, float | None]]:
        question = replace(recommender.ask(request), wish=Wish({"right": vector}, 0.5))
        found = recommender.finish(question, recommender.score(question))
        return {item["item_id"]: (item["title"], item["price"]) for item in found["items"]}

    first, second = answer(), answer()
    assert first["i35"] == ("thing 35", None)
    assert "new" not in first
    assert second["i35"] == ("Other", 7.0)
    assert "new" in second


def test_a_rule_whose_last_item_was_changed_goes_on(
    recommender: Recommender, training: Training
) -> None:
    """`check` is for the release's catalogue: nobody's POST /items may stop all answers."""
    assert training.vectors is not None
    boost = {"use": "bridgerec.serving.boosts:Boost", "items": ["i33"], "add": 9.0}
    shop = {**boost, "items": [], "brands": ["only"]}
    put(recommender, (1, addition(training.vectors[33], item_id="i33", brand="only")))
    recommender.finishing = Finishing(recommender.shelf, {**SERVICE, "rules": [boost, shop]})
    ask = {"target": "right", "user_id": "u5", "k": 60, "exclude_seen": False}
    assert ids(recommender.recommend(ask))[0] == "i33"
    put(recommender, (2, addition(training.vectors[33], item_id="i33")))  # no brand any more
    put(recommender, (3, addition(training.vectors[40])))
    found = ids(recommender.recommend(ask))
    assert found[0] == "i33"
    assert "new" in found


def test_the_requests_of_a_batch_are_asked_together(
    recommender: Recommender, tmp_path: Path
) -> None:
    waiting, all_there = [], asyncio.Event()

    async def score(job: Job) -> NDArray[np.float32]:
        waiting.append(job)
        if len(waiting) == 3:
            all_there.set()
        await asyncio.wait_for(all_there.wait(), 20)
        return job.model.score(job.histories, job.target)[0]

    live = Live(recommender, Embedder(tmp_path), score=score)
    asked = [{"target": "right", "user_id": f"u{n}", "k": 3} for n in (4, 5, 6)]

    async def ask() -> list[dict[str, Any]]:
        async with served(live) as client:
            answer = await client.post("/recommend_batch", json={"requests": asked})
            return list(answer.json()["answers"])

    answers = asyncio.run(ask())
    alone = [recommender.recommend(one) for one in asked]
    assert [ids(answer) for answer in answers] == [ids(one) for one in alone]


def test_accounts_of_one_person_get_the_same_release(
    recommender: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = {("left", "a"): 7, ("right", "b"): 7}
    people = replace(recommender.people, account_index=accounts)
    live = Live(replace(recommender, people=people), Embedder(tmp_path))
    asked, before = [], live.releases.ask_async

    async def noted(person: str, *rest: Any) -> Any:
        asked.append(person)
        return await before(person, *rest)

    monkeypatch.setattr(live.releases, "ask_async", noted)
    for domain, user in (("left", "a"), ("right", "b"), ("left", "stranger")):
        request = RecommendRequest(target="right", user_domain=domain, user_id=user)
        asyncio.run(live.recommend(request, "q"))
    asyncio.run(live.recommend(RecommendRequest(target="right"), "q"))
    assert asked == ["u7", "u7", "stranger", "q"]


def test_a_persons_events_are_told_in_the_order_of_time(
    recommender: Recommender, tmp_path: Path
) -> None:
    store = open_store(str(tmp_path / "state"))
    live = Live(recommender, Embedder(tmp_path), store)
    times = recommender.people.packaged(0).times
    old = Event("e", "u0", "left", "i3", (times[-3] + times[-2]) // 2)

    async def ask() -> dict[str, Any]:
        await store.add([old])
        async with served(live) as client:
            return dict((await client.get("/users/u0")).json())

    told = asyncio.run(ask())["events"]
    live.close()
    assert [e["timestamp"] for e in told] == sorted(e["timestamp"] for e in told)
    assert "live" in {e["source"] for e in told[:-1]}


def test_variety_that_no_rule_makes_is_told(recommender: Recommender) -> None:
    ask = {"target": "right", "user_id": "u5", "diversity": 0.5}
    told = ["no rule of this release makes lists varied; `diversity` is ignored"]
    assert recommender.recommend(ask)["notes"] == told
    assert recommender.recommend({**ask, "diversity": 0})["notes"] == []
    service = {**SERVICE, "rules": [{"use": "bridgerec.serving.diversity:MMR"}]}
    varied = replace(recommender, service=service).recommend(ask)
    assert varied["notes"] == []
    assert ids(varied) != ids(recommender.recommend(ask))


def test_accounts_that_no_table_maps_are_one_person_by_id(
    recommender: Recommender, tmp_path: Path
) -> None:
    """As in training, where an account without an entry is the person of that id."""
    people = replace(recommender.people, account_index={("left", "7"): 3})
    store = open_store(str(tmp_path / "state"))
    live = Live(replace(recommender, people=people), Embedder(tmp_path), store)

    async def work() -> None:
        async with served(live) as client:

            async def known(user: str, domain: str) -> list[str]:
                answer = await client.get(f"/users/{user}", params={"user_domain": domain})
                return [e["item_id"] for e in answer.json()["events"] if e["source"] == "live"]

            for user, domain, item in (
                ("7", "left", "i1"),
                ("7", "right", "i2"),
                ("8", "left", "i3"),
            ):
                event = {"user_id": user, "user_domain": domain, "domain": "left", "item_id": item}
                assert (await client.post("/events", json=event)).status_code == 200
            assert await known("7", "left") == ["i1"]  # the table's person u3
            assert await known("u3", "right") == ["i1"]
            assert await known("7", "right") == ["i2"]
            assert await known("8", "left") == await known("8", "right") == ["i3"]

    asyncio.run(work())
    live.close()


def test_titles_of_changed_and_added_items_are_found_at_their_places(
    recommender: Recommender, training: Training
) -> None:
    assert training.vectors is not None
    vector = training.vectors[0]
    put(recommender, (1, addition(vector, item_id="i35", title="A STRANGE word")))
    put(recommender, (2, addition(vector, item_id="n1", title="strange thing 3")))
    shelf = recommender.shelf
    assert shelf.titled(None, "Strange", 9) == [35, 60]
    assert shelf.titled("left", "strange", 9) == []
    assert shelf.titled("right", "thing 3", 99) == [i for i in range(30, 40) if i != 35] + [60]
    assert shelf.titled(None, "THING", 3) == [0, 1, 2]
    assert shelf.titled(None, "", 99) == [*range(61)]
