"""Messy tables become the same numbers as a plain loop over their rows gives."""

from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bridgerec.config import Workspace
from bridgerec.data.encode import encode_catalogue, encode_events
from bridgerec.data.kinds import MOST_KINDS, most_frequent, one_numbering
from helpers import small_params

WEIGHTS: dict[str | None, float] = {"purchase": 3.0, "hidden": 0.0}


def write(workspace: Workspace, form: str, seed: int) -> list[dict[str, Any]]:
    """Tables with gaps of every sort; returns the usable rows, domain by domain."""
    rng = np.random.default_rng(seed)
    domains, usable = {}, []
    for domain in ("left", "right"):
        folder = workspace.root / "data" / domain
        known = [f"{domain}-{i}" for i in range(5)]
        rows = [
            {
                "user_id": [None, "", " ", *(f"{domain[0]}{i}" for i in range(12)), "x", "y"][u],
                "item_id": [None, "gone", *known][i],
                "timestamp": None if time == 0 else time,
                **({"kind": [None, "view", "purchase", "hidden"][k]} if domain == "left" else {}),
            }
            for u, i, time, k in rng.integers(0, [17, 7, 30, 4], (60, 4)).tolist()
        ]
        usable += [
            {"kind": None, **row, "domain": domain}
            for row in rows
            if (row["user_id"] or "").strip() and row["item_id"] in known
            if row["timestamp"] is not None and WEIGHTS.get(row.get("kind"), 1.0) > 0
        ]
        tables = {"interactions": pl.DataFrame(rows), "items": pl.DataFrame({"item_id": known})}
        tables["items"] = tables["items"].with_columns(title=pl.col("item_id"))
        for name, table in tables.items():
            getattr(table, f"write_{form}")(folder / f"{name}.{form}")
        domains[domain] = {name: f"data/{domain}/{name}.{form}" for name in tables}
    params = small_params(data={"domains": domains}, prepare={"event_weights": WEIGHTS})
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(params))
    return usable


@pytest.mark.parametrize("form", ["parquet", "csv", "ndjson"])
@pytest.mark.parametrize("seed", range(3))
def test_only_usable_rows_are_encoded(small_workspace: Workspace, form: str, seed: int) -> None:
    usable = write(small_workspace, form, seed)
    workspace = Workspace.open(small_workspace.root)
    catalogue = encode_catalogue(workspace, workspace.params)
    people, events, counts = encode_events(workspace, workspace.params, catalogue)
    # nobody is left of whom no row is
    assert people.to_list() == sorted({row["user_id"] for row in usable})
    usable.sort(key=lambda row: (row["user_id"], row["timestamp"]))
    assert events.timestamp is not None
    assert events.kind is not None
    items = catalogue.items["item_id"].to_list()
    kinds = [None if k < 0 else events.kinds[k] for k in events.kind.tolist()]
    found = zip(
        people.gather(events.user).to_list(), (items[i] for i in events.item.tolist()),
        events.timestamp.tolist(), kinds, events.weight.tolist(), strict=True,
    )  # fmt: skip
    assert list(found) == [
        (r["user_id"], r["item_id"], r["timestamp"], r["kind"], WEIGHTS.get(r["kind"], 1.0))
        for r in usable
    ]
    assert events.kinds == ("purchase", "view")  # a kind of which no row is left is none
    for domain in ("left", "right"):
        own = sum(row["domain"] == domain for row in usable)
        assert counts[domain] == {"rows": 60, "left_out": 60 - own}


@given(st.lists(st.lists(st.sampled_from([None, *"abcd"])), min_size=1, max_size=3))
def test_kinds_of_all_domains_share_numbers(rows: list[list[str | None]]) -> None:
    domains = []
    for own in rows:
        names = list(dict.fromkeys(own))
        domains.append((names, np.array([names.index(kind) for kind in own], dtype=np.uint32)))
    names, code = one_numbering(domains)
    assert [names[c] for c in code.tolist()] == [kind for own in rows for kind in own]


def test_only_the_most_frequent_kinds_have_a_name() -> None:
    names = [None, "never", *(f"kind {i:02d}" for i in range(MOST_KINDS + 1))]
    code = np.array([0] * 9 + [2] + [i for i in range(3, len(names)) for _ in range(2)])
    kinds, place = most_frequent(names, code)
    assert kinds == tuple(names[3:])
    assert place.tolist() == [-1] * 10 + [i for i in range(MOST_KINDS) for _ in range(2)]
    assert most_frequent([None], np.zeros(2, dtype=np.int8))[1].tolist() == [-1, -1]
