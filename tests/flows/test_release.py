"""The release flow: what becomes live, what is kept, what is refused."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from bridgerec.config import Workspace
from bridgerec.errors import ArtifactError, GateRefused
from bridgerec.registry.current import pin, promote, read_current, rollback
from bridgerec.registry.store import Store
from bridgerec.runtime import read_json, write_json
from bridgerec.serving.canary import move_file
from releases_world import kept

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


@pytest.fixture
def copy(finished: Workspace, tmp_path: Path) -> Workspace:
    return Workspace.open(shutil.copytree(finished.root, tmp_path / "copy"))


def test_release_needs_a_decision(toy: Path) -> None:
    from flows.release import release

    with pytest.raises(ArtifactError, match=r"decision\.json"):
        release(str(toy))
    write_json(toy / "reports" / "decision.json", {"released": False, "reasons": ["too weak"]})
    with pytest.raises(GateRefused, match="too weak"):
        release(str(toy))


def test_from_the_first_release_to_a_refused_one(copy: Workspace) -> None:
    from flows.release import release
    from prefect.client.orchestration import get_client

    found, store = release(str(copy.root)), Store.of(copy)
    live = store.find(found)
    assert read_current(store).release == found
    trial = live.verdict["trial"]
    assert trial["release"] == found
    assert 0 < trial["p50_milliseconds"] <= trial["p95_milliseconds"]
    assert trial["bento_megabytes"] > 0.1
    assert read_json(move_file(copy.canary))["bento"] == str(live.bento)
    with get_client(sync_client=True) as client:
        artifacts = {a.key: str(a.data) for a in client.read_artifacts()}
    assert "blend" in artifacts["release-decision"]
    assert f"{found} is allowed" in artifacts["release-reasons"]
    assert "evaluation/index.html" in artifacts["release-evaluation"]

    # another release is live, with the same models, and today's winner does worse than they do
    other = kept(copy.root, "0ther", 1)
    shutil.copytree(live.folder, other.folder, dirs_exist_ok=True)
    promote(store, other)
    path = copy.reports / "evaluation" / "per_user.parquet"
    worse = pl.read_parquet(path).with_columns((pl.col("ndcg@10") * 0.5).alias("ndcg@10"))
    path.unlink()
    worse.write_parquet(path)
    verdict = live.verdict
    from flows.release import give_verdict, make_live

    refused = give_verdict.fn(copy, None)
    write_json(live.folder / "verdict.json", refused.model_dump(mode="json"))
    with pytest.raises(GateRefused, match=f"of {other.id}, which is live"):
        make_live.fn(copy, live)
    assert read_current(store).release == other.id
    write_json(live.folder / "verdict.json", verdict)
    assert make_live.fn(copy, live) == f"{found} is live"


def test_a_pin_and_a_rollback_stop_the_flow_but_not_people(tmp_path: Path) -> None:
    from flows.release import make_live

    place = Workspace.open(tmp_path)
    store, first, second = Store.of(place), kept(tmp_path, "a1", 1), kept(tmp_path, "b2", 2)
    pin(store, first)
    assert "a1 is pinned" in make_live.fn(place, second)
    rollback(store, second)
    rollback(store, first, "complaints")
    assert "rolled back" in make_live.fn(place, second)
    assert read_current(store).release == "a1"
    assert make_live.fn(place, first) == "a1 is live already"
