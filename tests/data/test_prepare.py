"""Splits keep their promises on any data."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bridgerec.config import KCore, Params, Workspace
from bridgerec.data.dataset import Catalogue, Split
from bridgerec.data.encode import Events
from bridgerec.data.ids import distinct, encode_people
from bridgerec.data.prepare import prepare
from bridgerec.data.split import assert_no_leakage, assign, collapse, k_core, split_hash
from bridgerec.errors import DataError
from bridgerec.runtime import file_hash, read_json
from helpers import small_params

CATALOGUE = Catalogue(
    pl.DataFrame({"domain": ["left"] * 5 + ["right"] * 5, "item_id": list("abcdefghij")})
)


@st.composite
def events(draw: st.DrawFn) -> Events:
    n = draw(st.integers(20, 120))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    user, item = rng.integers(0, 12, n), rng.integers(0, 10, n)
    time = rng.integers(0, draw(st.integers(5, 1000)), n)
    order = np.lexsort((time, user))
    weight = rng.integers(1, 4, n).astype(np.float32)
    return Events(
        user[order].astype(np.int32), item[order].astype(np.int32), time[order], weight[order]
    )


@given(events())
@settings(max_examples=60, deadline=None)
def test_no_split_leaks(found: Events) -> None:
    """The rules of each protocol, written down a second time in plain Python."""
    params = Params.model_validate(small_params())
    pairs = collapse(found)
    assert len(set(zip(pairs.user.tolist(), pairs.item.tolist(), strict=True))) == len(pairs.user)
    assert pairs.timestamp is not None
    for split in assign(found, pairs, CATALOGUE, params):
        assert_no_leakage(split, pairs, CATALOGUE)
        rows = np.arange(len(pairs.user)) if split.rows is None else split.rows
        table = list(zip(rows.tolist(), split.part.tolist(), split.fit.tolist(), strict=True))
        assert all(part == 0 for _, part, fit in table if fit)
        if split.name == "temporal":
            first, second = split.info["cuts"]
            for row, part, _ in table:
                time = pairs.timestamp[row]
                assert part == (0 if time < first else 1 if time < second else 2)
        elif split.name == "leave_last":
            for user in set(pairs.user.tolist()):
                own = [part for row, part, _ in table if pairs.user[row] == user]
                tail = [1, 2] if len(own) >= 3 else []
                assert own == [0] * (len(own) - len(tail)) + tail
        else:
            block = CATALOGUE.block(split.targets[0])
            for user in set(pairs.user.tolist()):
                parts = {
                    part
                    for row, part, _ in table
                    if pairs.user[row] == user and block.start <= pairs.item[row] < block.stop
                }
                assert len(parts) <= 1  # all target rows of a person are hidden, or none


@given(events())
@settings(max_examples=60, deadline=None)
def test_weights_tell_nothing_of_the_future(found: Events) -> None:
    """Changing events after the cut must not change any training weight."""
    params = Params.model_validate(small_params())
    pairs = collapse(found)
    split = assign(found, pairs, CATALOGUE, params)[0]
    assert found.timestamp is not None
    late = found.timestamp >= split.info["cuts"][0]
    louder = replace(found, weight=np.where(late, found.weight * 7, found.weight))
    again = assign(louder, collapse(louder), CATALOGUE, params)[0]
    assert np.array_equal(split.weight[split.part == 0], again.weight[again.part == 0])


@given(events(), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_pair_is_of_its_weightiest_kind(found: Events, seed: int) -> None:
    """Among the events of the first one's part, known ones before unknown ones, of equals the
    last; written down a second time in plain Python."""
    n, params = len(found.user), Params.model_validate(small_params())
    kind = np.random.default_rng(seed).integers(-1, 4, n).astype(np.int8)
    found = replace(found, kind=kind, kinds=tuple("abcd"))
    pairs = collapse(found)
    split = assign(found, pairs, CATALOGUE, params)[0]
    assert found.timestamp is not None
    assert split.kind is not None
    for user, item, own in zip(pairs.user, pairs.item, split.kind, strict=True):
        mine = np.flatnonzero((found.user == user) & (found.item == item))
        part = (found.timestamp[mine][:, None] >= split.info["cuts"]).sum(1)
        mine = mine[part == part[0]]
        assert own == kind[max(mine.tolist(), key=lambda i: (kind[i] >= 0, found.weight[i], i))]


@pytest.mark.parametrize("name", ["temporal", "leave_last", "cold_start-left-50"])
def test_leakage_is_noticed(name: str) -> None:
    """One held-out row put into training, with nothing else out of order."""
    found = Events(
        np.repeat(np.arange(8, dtype=np.int32), 10),
        np.tile(np.arange(10, dtype=np.int32), 8),
        np.tile(np.arange(10), 8),
        np.ones(80, dtype=np.float32),
    )
    pairs = collapse(found)
    splits = assign(found, pairs, CATALOGUE, Params.model_validate(small_params()))
    split = next(s for s in splits if s.name == name)
    part = split.part.copy()
    held_out = np.flatnonzero(part == 2)
    # leave_last: the test row moves before the validation row; else one row becomes training
    changed = held_out[0] - 2 if name == "leave_last" else held_out[0]
    part[changed] = 2 if name == "leave_last" else 0
    with pytest.raises(DataError, match="leaks"):
        assert_no_leakage(replace(split, part=part, fit=split.fit & (part == 0)), pairs, CATALOGUE)


def test_nothing_to_learn_from_is_a_clear_error(small_workspace: Workspace) -> None:
    for domain in ("left", "right"):
        path = small_workspace.root / "data" / domain / "interactions.csv"
        pl.read_csv(path).with_columns(pl.lit(1_600_000_000).alias("timestamp")).write_csv(path)
    with pytest.raises(DataError, match="temporal: no training row is left"):
        prepare(small_workspace)


def test_weights_sum_the_events_of_the_same_part() -> None:
    found = Events(
        np.zeros(6, dtype=np.int32),
        np.array([0, 0, 5, 1, 6, 0], dtype=np.int32),
        np.arange(6),
        np.array([1, 3, 1, 1, 1, 100], dtype=np.float32),
    )
    pairs = collapse(found)
    assert pairs.item.tolist() == [0, 5, 1, 6]
    last = next(
        s
        for s in assign(found, pairs, CATALOGUE, Params.model_validate(small_params()))
        if s.name == "leave_last"
    )
    assert last.part.tolist() == [0, 0, 1, 2]
    assert last.weight[0] == 4  # the purchase after the test item is not counted


def test_k_core_reaches_a_fixed_point() -> None:
    user = np.array([0, 0, 1, 1, 2], dtype=np.int32)
    item = np.array([0, 1, 0, 1, 2], dtype=np.int32)
    kept = k_core(user, item, np.ones(5, dtype=bool), KCore(user=2, item=2))
    assert kept.tolist() == [True, True, True, True, False]


def test_prepare_writes_the_same_bytes_twice(small_workspace: Workspace) -> None:
    prepare(small_workspace)
    first = file_hash(small_workspace.prepared)
    prepare(small_workspace)
    assert file_hash(small_workspace.prepared) == first


def test_cases_ask_only_for_what_is_held_out(small_workspace: Workspace) -> None:
    summary = prepare(small_workspace)
    assert summary["overlapping_people"] == 40
    catalogue = Catalogue.read(small_workspace.prepared / "items.parquet")
    for name, info in read_json(small_workspace.prepared / "splits.json").items():
        split = Split.read(small_workspace.prepared, name, catalogue)
        for target in info["targets"]:
            for part in ("validation", "test"):
                cases = split.cases(part, target)
                block = catalogue.block(target)
                asked = cases.relevant.items
                assert ((asked >= block.start) & (asked < block.stop)).all()
                for i in range(len(cases)):
                    past = set(cases.histories.batch(i, i + 1).items.tolist())
                    assert not past & set(cases.relevant.batch(i, i + 1).items.tolist())
                if info["protocol"] == "cold_start":
                    assert len(cases.histories.within(block).items) == 0


def test_what_is_known_at_a_moment_comes_from_before_it(small_workspace: Workspace) -> None:
    prepare(small_workspace)
    catalogue = Catalogue.read(small_workspace.prepared / "items.parquet")
    split = Split.read(small_workspace.prepared, "temporal", catalogue)
    learned, before_test, everything = (
        split.known(part).histories.timestamp for part in ("validation", "test", None)
    )
    assert learned is not None
    assert before_test is not None
    assert everything is not None
    first, second = split.info["cuts"]
    assert np.array_equal(learned, split.training().histories.timestamp)
    assert learned.max() < first <= before_test.max() < second <= everything.max()
    assert len(before_test) == len(learned) + (split.part == 1).sum()


def test_kinds_of_events_reach_the_models(small_workspace: Workspace) -> None:
    """One table with kinds, one without; a missing kind is no reason to leave a row out."""
    for domain in ("left", "right"):
        path = small_workspace.root / "data" / domain / "interactions.csv"
        pl.read_csv(path).drop("kind", strict=False).write_csv(path)
    prepare(small_workspace)
    plain = Split.read(
        small_workspace.prepared,
        "temporal",
        Catalogue.read(small_workspace.prepared / "items.parquet"),
    )
    assert plain.training().histories.event_kind is None
    table = pl.read_csv(path)
    names = ["view", None, "purchase"]
    table.with_columns(kind=pl.Series([names[i % 3] for i in range(len(table))])).write_csv(path)
    assert prepare(small_workspace)["events"] == len(plain.user)
    catalogue = Catalogue.read(small_workspace.prepared / "items.parquet")
    for name in read_json(small_workspace.prepared / "splits.json"):
        training = Split.read(small_workspace.prepared, name, catalogue).training()
        assert training.event_kinds == ("purchase", "view")
        kinds, inside = training.histories.event_kind, training.histories.items
        assert kinds is not None
        block = catalogue.block("left")
        assert set(kinds[(inside >= block.start) & (inside < block.stop)].tolist()) == {-1}
        right = kinds[(inside < block.start) | (inside >= block.stop)]
        assert set(right.tolist()) == {-1, 0, 1}


def test_order_without_time(small_workspace: Workspace) -> None:
    """Data with `position` only: leave_last works, temporal says what to do."""
    for domain in ("left", "right"):
        path = small_workspace.root / "data" / domain / "interactions.csv"
        pl.read_csv(path).rename({"timestamp": "position"}).write_csv(path)
    with pytest.raises(DataError, match=r"remove\s+`temporal`"):
        prepare(small_workspace)
    changed = small_params(split={"protocols": ["leave_last"]}, gate={"protocol": "leave_last"})
    (small_workspace.root / "params.yaml").write_text(yaml.safe_dump(changed))
    prepare(small_workspace)
    assert list(read_json(small_workspace.prepared / "splits.json")) == ["leave_last"]


def test_identities_join_accounts(small_workspace: Workspace) -> None:
    path = small_workspace.root / "data" / "right" / "interactions.csv"
    frame = pl.read_csv(path).with_columns(("account-" + pl.col("user_id")).alias("user_id"))
    frame.write_csv(path)
    assert prepare(small_workspace)["overlapping_people"] == 0
    accounts = frame["user_id"].unique().sort()
    pl.DataFrame(
        {
            "domain": ["right"] * len(accounts),
            "user_id": accounts,
            "person_id": accounts.str.strip_prefix("account-"),
        }
    ).write_csv(small_workspace.root / "data" / "who.csv")
    changed = small_params()
    changed["data"]["identities"] = "data/who.csv"  # type: ignore[index]
    (small_workspace.root / "params.yaml").write_text(yaml.safe_dump(changed))
    assert prepare(small_workspace)["overlapping_people"] == 40
    found = pl.read_parquet(small_workspace.prepared / "accounts.parquet").join(
        pl.read_parquet(small_workspace.prepared / "users.parquet"), on="user", suffix="_person"
    )
    assert len(found) == len(accounts)
    assert (found["user_id"] == "account-" + found["user_id_person"]).all()


def test_split_hash_follows_the_split() -> None:
    rng = np.random.default_rng(0)
    found = Events(
        np.repeat(np.arange(6, dtype=np.int32), 8),
        rng.integers(0, 10, 48).astype(np.int32),
        np.tile(np.arange(8), 6),
        np.ones(48, dtype=np.float32),
    )
    pairs = collapse(found)
    splits = assign(found, pairs, CATALOGUE, Params.model_validate(small_params()))
    hashes = [split_hash(s, pairs) for s in splits]
    assert len(set(hashes)) == len(hashes)
    assert hashes == [split_hash(s, pairs) for s in splits]


def test_ids_that_share_a_hash_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = pl.Series(["b", "a", "c", "a"])
    people, found = encode_people(ids)
    assert (people.to_list(), found.tolist()) == (["a", "b", "c"], [1, 0, 2, 0])
    monkeypatch.setattr(pl.Series, "hash", lambda ids: pl.Series([1, 2, 1, 2], dtype=pl.UInt64))
    people, found = encode_people(ids)
    assert (people.to_list(), found.tolist()) == (["a", "b", "c"], [1, 0, 2, 0])
    texts = ["b", None, "c", None]
    names, code = distinct(pl.Series(texts))
    assert names.gather(code).to_list() == texts


@given(st.lists(st.one_of(st.none(), st.text("aé\u897f 0", max_size=14)), max_size=60))
@settings(deadline=None)
def test_distinct_ids_give_the_texts_back(texts: list[str | None]) -> None:
    ids = pl.Series(texts, dtype=pl.String)
    names, code = distinct(ids)
    assert len(names) == len(set(texts)) == names.n_unique()
    assert names.gather(code).to_list() == texts


def test_distinct_ids_of_many_rows() -> None:
    """More rows than are looked at together, and ids enough to meet in a bucket."""
    number = np.random.default_rng(0).integers(0, 50_000, 200_001)
    names, code = distinct("id " + pl.Series(number).cast(pl.String))
    assert len(names) == len(np.unique(number))
    assert np.array_equal(names.str.slice(3).cast(pl.Int64).to_numpy()[code], number)


@given(events())
@settings(max_examples=40, deadline=None)
def test_collapse_joins_the_events_of_a_pair(found: Events) -> None:
    rows: dict[tuple[int, int], list[int]] = {}
    for row, pair in enumerate(zip(found.user.tolist(), found.item.tolist(), strict=True)):
        rows.setdefault(pair, []).append(row)
    pairs = collapse(found)
    assert list(zip(pairs.user.tolist(), pairs.item.tolist(), strict=True)) == list(rows)
    assert pairs.first.tolist() == [own[0] for own in rows.values()]
    assert pairs.weights().tolist() == [found.weight[own].sum() for own in rows.values()]
    numbers = {pair: number for number, pair in enumerate(rows)}
    for row, pair in zip(pairs.repeat.tolist(), pairs.pair_of_repeat.tolist(), strict=True):
        assert numbers[int(found.user[row]), int(found.item[row])] == pair
