"""monitor() on a fabricated workspace."""

import json
import socket
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

from bridgerec.config import Workspace
from bridgerec.errors import ArtifactError, DataError
from bridgerec.monitoring.report import monitor
from bridgerec.monitoring.sample import live_sample, training_sample
from bridgerec.monitoring.traffic import read_traffic


@pytest.fixture
def fabricated(small_workspace: Workspace) -> Workspace:
    rng = np.random.default_rng(0)
    for number, domain in enumerate(("left", "right")):
        folder, ids = small_workspace.root / "data" / domain, range(60 * number, 60 * number + 60)
        named = {"item_id": [f"i{n}" for n in ids], "title": [f"thing {n}" for n in ids]}
        pl.DataFrame(named).write_csv(folder / "items.csv")
        rows = {
            "user_id": [f"u{n}" for n in range(600)],
            "item_id": [f"i{n}" for n in rng.choice(ids, 600)],
            "timestamp": np.linspace(1.69e9, 1.7e9, 600).astype(int),
            "kind": rng.choice(["view", "like"], 600),
        }
        pl.DataFrame(rows).write_csv(folder / "interactions.csv")
    small_workspace.prepared.mkdir(parents=True)
    small_workspace.vectors.mkdir()
    pl.DataFrame(
        {
            "domain": ["left"] * 60 + ["right"] * 60,
            "item_id": [f"i{n}" for n in range(120)],
            "title": [f"thing {n}" for n in range(120)],
            "category": [f"Kind {n % 4} > Sort {n % 8}" for n in range(120)],
        }
    ).write_parquet(small_workspace.prepared / "items.parquet")
    pl.DataFrame(
        {"user": np.repeat(np.arange(400), 6), "item": rng.integers(0, 120, 2400)}
    ).write_parquet(small_workspace.prepared / "interactions.parquet")
    vectors = np.eye(4)[np.arange(120) % 4].repeat(4, axis=1) + 0.1 * rng.normal(size=(120, 16))
    path = small_workspace.vectors / "vectors.safetensors"
    save_file({"vectors": vectors.astype(np.float32)}, path)
    return small_workspace


def ask(workspace: Workspace, requests: int, choices: list[int], seed: int = 1) -> Path:
    rng = np.random.default_rng(seed)
    lines = []
    for n in range(requests):
        items = rng.choice(choices, 6)
        history = [["left" if i < 60 else "right", f"i{i}"] for i in items]
        line = {"time": 1.7e9 + n, "request_id": str(n), "release": "r", "route": "warm"}
        line |= {"target": "left", "k": 1, "history": history, "items": ["i0"], "scores": [1.0]}
        lines.append(json.dumps(line))
    workspace.traffic.mkdir(exist_ok=True)
    path = workspace.traffic / "requests.1.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_traffic_reports_bad_lines(fabricated: Workspace) -> None:
    path = ask(fabricated, 3, list(range(120)))
    good = path.read_text().splitlines()[0]
    path.write_text(path.read_text() + 'nonsense\n{"time": 1}\n' + good[:40])
    found = read_traffic(fabricated.traffic)
    assert (len(found), found.truncated, found.broken) == (3, 1, 2)


def test_too_few_requests_and_no_log_say_so(fabricated: Workspace, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no traffic log"):
        monitor(fabricated, tmp_path / "out")
    ask(fabricated, 5, list(range(120)))
    with pytest.raises(DataError, match="min_requests"):
        monitor(fabricated, tmp_path / "out")


def test_missing_artifacts_say_so(small_workspace: Workspace, tmp_path: Path) -> None:
    ask(small_workspace, 100, list(range(60)))
    with pytest.raises(ArtifactError, match="bridgerec run"):
        monitor(small_workspace, tmp_path / "out")


def test_samples_are_the_newest_items() -> None:
    items = pl.DataFrame(
        {"domain": ["left"] * 3, "item_id": ["a", "b", "c"], "category": [None] * 3}
    )
    rows = pl.DataFrame({"user": [0, 0, 0, 1, 1], "item": [0, 1, 2, 2, 1]})
    rng = np.random.default_rng(0)
    training = training_sample(items, rows, 2, 10, rng)
    assert sorted(zip(training.items.tolist(), training.frame["history_length"], strict=True)) == [
        (1, 2.0), (2, 2.0)
    ]  # fmt: skip
    live = live_sample(items, rows, [[("left", "a"), ("left", "new")], [("left", "b")]], rng)
    assert sorted(live.items.tolist()) == [-1, 1]
    assert sorted(live.frame["popularity"])[-1] == "unknown"


def evidently_runs(workspace: Workspace) -> list[dict[str, dict[str, float]]]:
    """What Evidently's UI knows: per run of the monitor the means of `numbers` and `columns`."""
    from evidently.ui.workspace import Workspace as Shelf

    shelf = Shelf.create(str(workspace.operations / "evidently"))
    [project] = shelf.search_project(workspace.root.name)
    assert len(project.dashboard.model().tabs[0].panels) == 8
    found = [shelf.get_run(project.id, run) for run in shelf.list_runs(project.id)]
    found.sort(key=lambda run: run.timestamp)
    means = [
        (
            run.name,
            {
                result.metric_value_location.metric.params["column"]: result.value
                for result in run.metric_results.values()
                if result.metric_value_location.metric.params.get("column")
                and isinstance(getattr(result, "value", None), float)
            },
        )
        for run in found
    ]
    pairs = zip(means[::2], means[1::2], strict=True)
    return [dict(sorted(pair, reverse=True)) for pair in pairs]


@pytest.mark.slow
def test_monitor_tells_drift_from_none(fabricated: Workspace) -> None:
    out = fabricated.reports / "monitoring"
    ask(fabricated, 200, list(range(120)))
    calm = monitor(fabricated, out)
    assert not calm["drift"], calm
    files = {"evidently.html", "summary.json", "summary.md", "history.parquet", "trends.svg"}
    assert {p.name for p in out.iterdir()} == files | {"probe.safetensors"}
    assert (out / "summary.md").read_text().startswith("# No drift")
    again = monitor(fabricated, out)
    assert again["encoder"]["texts"] == 120
    assert not again["encoder"]["changed"]
    assert {**again, "encoder": None} == calm
    ask(fabricated, 200, list(range(0, 120, 4)))  # one category only
    changed = monitor(fabricated, out)
    assert changed["drift"]
    assert changed["vectors"]["drift"]
    assert "category" in changed["drifted_columns"]
    assert "vectors" in changed["alarms"]
    # columns alone raise an alarm when they are half of the four
    assert ("columns" in changed["alarms"]) == (len(changed["drifted_columns"]) >= 2)
    assert "has drifted" in (out / "evidently.html").read_text()
    stored = json.loads((out / "summary.json").read_text())
    assert stored | {"webhook": None} == json.loads(json.dumps(changed))
    history = pl.read_parquet(out / "history.parquet")
    assert history["drift"].to_list() == [False, False, True]
    assert history["auc"][2] > history["auc"][0]
    runs = evidently_runs(fabricated)
    assert [set(run) for run in runs] == [{"numbers", "columns"}] * 3
    assert [run["numbers"]["auc"] for run in runs] == pytest.approx(history["auc"].to_list())
    assert [run["numbers"]["drift"] for run in runs] == [0, 0, 1]
    assert (out / "trends.svg").read_text().count('fill="#d33"') == 3  # clicks are not known


@pytest.mark.slow
def test_what_a_run_says_beyond_the_traffic(
    fabricated: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New vectors for old texts, a new column, new items, clicks, and a webhook that is away."""
    out = fabricated.reports / "monitoring"
    ask(fabricated, 200, list(range(120)))
    monitor(fabricated, out)
    path = fabricated.vectors / "vectors.safetensors"
    turned = load_file(path)["vectors"][:, ::-1]
    save_file({"vectors": np.ascontiguousarray(turned)}, path)
    table = fabricated.root / "data" / "left" / "items.csv"
    old = pl.read_csv(table).with_columns(price=pl.lit("1"))
    new = old.head(8).with_columns(item_id="new-" + pl.col("item_id"))
    pl.concat([old, new]).write_csv(table)
    with (fabricated.traffic / "feedback.1.jsonl").open("w") as file:
        for n in range(200):
            line = {"time": 1.7e9 + n, "request_id": str(n), "domain": "left", "item_id": "i0"}
            print(json.dumps({**line, "kind": "shown", "position": 1}), file=file)
            if n % 4 == 0:
                print(json.dumps({**line, "kind": "clicked"}), file=file)
        late = {"time": 1.7e9 + 200_000, "request_id": "1", "kind": "clicked"}
        print(json.dumps({**late, "domain": "left", "item_id": "i0"}), file=file)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}/secret"
    monkeypatch.setenv("BRIDGEREC_WEBHOOK", address)
    found = monitor(fabricated, out)
    assert found["encoder"]["changed"]
    assert found["vectors"] is not None
    assert found["alarms"] == ["tables"]
    assert any("price is new" in said for said in found["tables"]["schema"])
    assert found["tables"]["catalogues"][0]["new"] == 8
    overall = found["quality"]["segments"][0]["rate"]
    assert (overall["value"], overall["impressions"]) == (0.25, 200)
    assert found["quality"]["late"] == 1
    assert found["webhook"]["attempts"] == 3
    assert not found["webhook"]["delivered"]
    text = (out / "summary.md").read_text()
    for words in ("the tables", "other vectors", "25.00% of 200 impressions", "price is new"):
        assert words in text
    assert "secret" not in json.dumps(found)
