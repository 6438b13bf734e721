"""Two releases side by side: results, parameters, data, routes."""

from typing import Any

import polars as pl

from bridgerec.registry.store import Release

ABSENT = "–"


def compare(one: Release, other: Release) -> dict[str, Any]:
    """What differs between two releases.

    `metrics`: rows of split, target and metric with `one` and `other` ({value, low, high} of whom
    the release asks there, on its own test part; `same_people`: the parts are the same).
    `params`: dotted key -> [one, other].  `data`: hash, items and people of both, and how many
    items came and went.  `routes`: route -> [one, other].
    """
    a, b = one.dossier, other.dossier
    return {
        "releases": [one.id, other.id],
        "routes": {r: [a["champion"]["routes"].get(r), n] for r, n in _routes(b).items()},
        "metrics": _metrics(a, b),
        "params": _changes(a["params"], b["params"]),
        "data": _data(one, other),
        "versions": _changes(a["versions"], b["versions"]),
    }


def results(dossier: dict[str, Any]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """(split, target, metric) -> value, low, high of the candidate that answers there."""
    routes, found = dossier["champion"]["routes"], {}
    for candidate, splits in dossier["test_metrics"].items():
        for split, targets in splits.items():
            route = "cold_start" if split.startswith("cold_start") else "warm"
            if routes[route] != candidate:
                continue
            for target, metrics in targets.items():
                for metric, cell in metrics.items():
                    found[split, target, metric] = cell
    return found


def _routes(dossier: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = dossier["champion"]["routes"]
    return found


def _metrics(a: dict[str, Any], b: dict[str, Any]) -> list[dict[str, Any]]:
    left, right = results(a), results(b)
    return [
        {
            "split": split,
            "target": target,
            "metric": metric,
            "one": left.get((split, target, metric)),
            "other": right.get((split, target, metric)),
            "same_people": a["split_hashes"].get(split) == b["split_hashes"].get(split),
        }
        for split, target, metric in sorted(left.keys() | right.keys())
    ]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    return {
        k: v
        for name, own in value.items()
        for k, v in _flat(own, f"{prefix}.{name}" if prefix else str(name)).items()
    }


def _changes(a: dict[str, Any], b: dict[str, Any]) -> dict[str, list[Any]]:
    left, right = _flat(a), _flat(b)
    return {
        key: [left.get(key, ABSENT), right.get(key, ABSENT)]
        for key in sorted(left.keys() | right.keys())
        if left.get(key, ABSENT) != right.get(key, ABSENT)
    }


def _data(one: Release, other: Release) -> dict[str, Any]:
    columns = ["domain", "item_id"]
    left, right = (
        pl.read_parquet(r.bento / "src" / "bundle" / "catalogue.parquet", columns=columns)
        for r in (one, other)
    )
    people = [
        pl.scan_parquet(r.bento / "src" / "bundle" / "users.parquet")
        .select(pl.len())
        .collect()
        .item()
        for r in (one, other)
    ]
    return {
        "hash": [one.dossier["data_hash"], other.dossier["data_hash"]],
        "same": one.dossier["data_hash"] == other.dossier["data_hash"],
        "items": [left.height, right.height],
        "people": people,
        "new_items": right.join(left, on=columns, how="anti").height,
        "vanished_items": left.join(right, on=columns, how="anti").height,
    }
