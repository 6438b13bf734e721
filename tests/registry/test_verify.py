"""Keeping, comparing and verifying releases of a real pipeline."""

import shutil
from pathlib import Path

import pytest
import yaml

from bridgerec.config import Workspace
from bridgerec.errors import ArtifactError, BridgeRecError, ConfigError
from bridgerec.registry.compare import compare
from bridgerec.registry.contents import content_md5
from bridgerec.registry.dossier import write_dossier
from bridgerec.registry.store import Release, Store
from bridgerec.registry.verify import Check, verify
from bridgerec.runtime import read_json, write_json

pytestmark = pytest.mark.slow
ALLOWED = {"allowed": True, "reasons": []}


@pytest.fixture
def copy(finished: Workspace, tmp_path: Path) -> Workspace:
    return Workspace.open(shutil.copytree(finished.root, tmp_path / "copy"))


@pytest.fixture
def release(copy: Workspace) -> Release:
    return Store.of(copy).keep(copy, ALLOWED)


def bad(checks: list[Check]) -> str:
    """What differs, which is the last check there was."""
    assert [c.state == "differs" for c in checks] == [False] * (len(checks) - 1) + [True]
    return f"{checks[-1].what}: {checks[-1].detail}"


def test_a_whole_release_verifies_from_the_rows_to_the_bento(
    copy: Workspace, release: Release
) -> None:
    checks = verify(copy, release.id)
    assert {c.state for c in checks} == {"same"}
    names = [c.what for c in checks]
    parts = ["data", "artifacts/prepared", "artifacts/vectors", "artifacts/blend", "models"]
    places = [names.index(part) for part in [*parts, "the whole Bento"]]
    assert places == sorted(places)


def test_dvc_agrees_with_our_hash_of_a_folder(finished: Workspace) -> None:
    noted = yaml.safe_load((finished.root / "data.dvc").read_text())["outs"][0]["md5"]
    assert content_md5(finished.root / "data") == noted


@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("data/films/items.jsonl", "data: films/items.jsonl was changed"),
        ("artifacts/prepared/items.parquet", "artifacts/prepared: items.parquet was changed"),
        ("artifacts/vectors/vectors.safetensors", "artifacts/vectors: vectors.safetensors"),
        ("artifacts/champion/models/popularity/model.safetensors", "artifacts/champion"),
        ("releases/{id}/bento/src/bundle/histories.safetensors", "bundle: histories"),
        ("releases/{id}/bento/src/bundle/models/popularity/model.safetensors", "models"),
        ("releases/{id}/bento/src/bridgerec/errors.py", "the whole Bento"),
    ],
)
def test_the_first_thing_that_differs_is_named(
    copy: Workspace, release: Release, place: str, named: str
) -> None:
    path = copy.root / place.format(id=release.id)
    content = path.read_bytes()
    path.unlink()  # it may be a link into DVC's cache
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert bad(verify(copy, release.id)).startswith(named)


def test_a_webhook_is_neither_quoted_nor_part_of_the_release(copy: Workspace) -> None:
    """Its address is a secret, and every reader may ask for the dossier."""
    path = copy.root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    before = write_dossier(copy)
    params["monitoring"] = {"webhook": "https://hooks.example.org/secret"}
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    found = write_dossier(Workspace.open(copy.root))
    assert "secret" not in str(found)
    assert found == before


def test_a_changed_dossier_differs(copy: Workspace, release: Release) -> None:
    path = release.bento / "src" / "bundle" / "dossier.json"
    dossier = read_json(path)
    dossier["params"]["seed"] += 1
    write_json(path, dossier)
    assert bad(verify(copy, release.id)).startswith("dossier")


def test_a_bento_alone_says_what_could_not_be_checked(release: Release, tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere" / "bento"
    shutil.copytree(release.bento, alone)
    checks = verify(Workspace.open(tmp_path / "elsewhere"), str(alone))
    states = {c.what: c.state for c in checks}
    assert states["data"] == states["the whole Bento"] == "unchecked"
    assert states["models"] == states["dossier"] == "same"
    assert "differs" not in states.values()
    (alone / "src" / "bundle" / "users.parquet").unlink()
    assert "users.parquet" in bad(verify(Workspace.open(tmp_path), str(alone)))
    with pytest.raises(ConfigError, match="no folder"):
        verify(Workspace.open(tmp_path), "no/such")


def test_other_data_are_told_from_damaged_ones(copy: Workspace, release: Release) -> None:
    tracked = copy.root / "data.dvc"
    tracked.write_text(tracked.read_text().replace(release.dossier["data_hash"], "0" * 32 + ".dir"))
    checks = {c.what: c for c in verify(copy, release.id)}
    assert checks["data"].state == "unchecked"
    assert "other data" in checks["data"].detail


def test_the_command_exits_with_1(copy: Workspace, release: Release) -> None:
    from typer.testing import CliRunner

    from bridgerec.cli.app import app

    done = CliRunner().invoke(app, ["verify", release.id[:6], "-C", str(copy.root)])
    assert (done.exit_code, "nothing differs" in done.output) == (0, True)
    (release.folder / "decision.json").write_text("{}")
    done = CliRunner().invoke(app, ["verify", release.id, "-C", str(copy.root)])
    assert isinstance(done.exception, BridgeRecError)
    assert done.exception.exit_code == 1
    assert "decision.json differs" in str(done.exception)


def test_keeping_twice_changes_nothing_and_other_bytes_are_refused(
    copy: Workspace, release: Release
) -> None:
    before = release.read("record")
    again = Store.of(copy).keep(copy, {"allowed": False, "reasons": ["late"]})
    assert again.read("record") == before
    assert again.verdict["reasons"] == ["late"]
    (copy.bento / "src" / "service.py").write_text("# other code\n")
    with pytest.raises(ArtifactError, match="same id with other bytes"):
        Store.of(copy).keep(copy, ALLOWED)
    decision = read_json(copy.reports / "decision.json")
    write_json(copy.reports / "decision.json", {**decision, "winner": "sequence"})
    with pytest.raises(ArtifactError, match="another decision"):
        Store.of(copy).keep(copy, ALLOWED)


def test_comparing_shows_results_parameters_and_data(copy: Workspace, release: Release) -> None:
    folder = release.folder.with_name("other")
    shutil.copytree(release.folder, folder)
    dossier = read_json(folder / "dossier.json")
    dossier["params"]["models"]["two_tower"]["epochs"] = 7
    dossier["split_hashes"]["temporal"] = "other"
    dossier["champion"]["routes"]["cold_start"] = "popularity"
    write_json(folder / "dossier.json", dossier)
    found = compare(release, Release("other", folder))
    assert found["params"] == {"models.two_tower.epochs": [1, 7]}
    assert found["data"]["same"]
    assert found["data"]["new_items"] == 0
    assert found["routes"]["cold_start"] == ["blend", "popularity"]
    rows = {(r["split"], r["metric"]): r for r in found["metrics"]}
    warm = rows["temporal", "ndcg@10"]
    assert warm["one"] == warm["other"]
    assert warm["one"]["low"] <= warm["one"]["value"] <= warm["one"]["high"]
    assert not warm["same_people"]
    assert rows["cold_start-films-50", "ndcg@10"]["same_people"]
