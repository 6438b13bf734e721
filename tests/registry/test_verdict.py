"""The live release as a rival of the new winner."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from bridgerec.config import SCRIPT, SEGMENTS, Workspace
from bridgerec.data.dataset import Catalogue, Histories, Training
from bridgerec.errors import ArtifactError
from bridgerec.models.item_knn import ItemKNN
from bridgerec.registry.current import promote
from bridgerec.registry.rival import AsItStands, against
from bridgerec.registry.store import Release, Store
from bridgerec.registry.verdict import judge
from bridgerec.runtime import read_json, write_json


def test_a_model_answers_about_a_catalogue_that_changed(training: Training) -> None:
    model = ItemKNN()
    model.train(training)
    old = training.catalogue
    new_item = pl.DataFrame({"domain": ["left"], "item_id": ["new"], "title": ["new"]})
    items = old.items.filter(~pl.col("item_id").is_in(["i3", "i40"]))
    new = Catalogue(pl.concat([new_item, items]))
    names = new.items["item_id"].to_list()
    asked = [names.index(i) for i in ("i1", "i4", "i31")]
    rival = AsItStands(model, old, new, same=False)
    found = rival.cross_score(Histories.of([[0, *asked], [0]]), "right", np.arange(2))
    block = new.block("right")
    plain = model.score(Histories.of([[1, 4, 31], []]), "right")
    kept = [i for i in range(30, 60) if i != 40]
    assert names[block] == [f"i{i}" for i in kept]
    np.testing.assert_array_equal(found, plain[:, [i - 30 for i in kept]])
    left = rival.score(Histories.of([asked]), "left")[0]
    assert left[0] < left[1:].min()  # what it does not know comes last


@pytest.fixture
def copy(finished: Workspace, tmp_path: Path) -> Workspace:
    ignored = shutil.ignore_patterns("cache", "tmp")
    return Workspace.open(shutil.copytree(finished.root, tmp_path / "copy", ignore=ignored))


@pytest.fixture
def first(copy: Workspace) -> Release:
    """A live release of the same data."""
    store = Store.of(copy)
    release = store.keep(copy, judge(copy, None).model_dump())
    promote(store, release)
    return release


@pytest.mark.slow
def test_without_a_release_the_decision_alone_counts(copy: Workspace) -> None:
    found = judge(copy, None)
    assert found.allowed
    assert found.reasons == ["nothing is live yet, so there is nothing to compare with"]
    metrics = read_json(copy.reports / "evaluation" / "metrics.json")
    own = {f"from_{domain}" for domain in copy.params.data.domains}
    for candidates in metrics["validation"].values():
        for targets in candidates.values():
            names = {name for name in targets["films"] if not name.startswith(SCRIPT)}
            assert names <= {*SEGMENTS, *own}


@pytest.mark.slow
def test_on_the_same_data_the_live_release_repeats_its_numbers(
    copy: Workspace, first: Release
) -> None:
    gaps = against(copy, first)
    assert [gap["route"] for gap in gaps] == ["warm", "cold_start"]
    for gap in gaps:
        assert gap["people"] > 50
        assert (gap["mean"], gap["low"], gap["high"]) == (0, 0, 0)
    found = judge(copy, None)
    assert found.allowed
    assert found.live == first.id


@pytest.mark.slow
def test_a_winner_that_is_worse_than_the_live_release_is_refused(
    copy: Workspace, first: Release
) -> None:
    path = copy.reports / "evaluation" / "per_user.parquet"
    people = pl.read_parquet(path)
    people.with_columns((pl.col("ndcg@10") * 0.5).alias("ndcg@10")).write_parquet(path)
    found = judge(copy, None)
    assert not found.allowed
    assert found.against_live[0]["high"] < 0
    assert f"of {first.id}, which is live" in found.reasons[0]
    params = yaml.safe_load((copy.root / "params.yaml").read_text())
    params["gate"]["guards"] = {"current": "ignore"}
    (copy.root / "params.yaml").write_text(yaml.safe_dump(params))
    assert judge(copy, None).allowed
    params["gate"]["guards"] = {"current": "better"}
    (copy.root / "params.yaml").write_text(yaml.safe_dump(params))
    people.write_parquet(path)
    assert not judge(copy, None).allowed  # as good as the live one is not better


@pytest.mark.slow
def test_a_winner_that_lost_a_segment_of_the_live_release_is_refused(
    copy: Workspace, first: Release
) -> None:
    for gap in against(copy, first):
        assert all(one["high"] >= one["least"] for one in gap["guarded"])
        assert "tail_items" in {one["segment"] for one in gap["guarded"]}
    path = copy.reports / "evaluation" / "metrics.json"
    metrics = read_json(path)
    winner = read_json(copy.reports / "decision.json")["winner"]
    tail = metrics["validation"]["temporal"][winner]["films"]["tail_items"]
    tail["ndcg@10"] = {"value": 0.0, "low": 0.0, "high": 0.0}
    write_json(path, metrics)
    found = judge(copy, None)
    assert not found.allowed
    (line,) = [r for r in found.reasons if r.startswith("refused")]
    assert line.startswith(f"refused: warm: {winner} against ")
    assert "temporal/films/tail_items is below the guard's" in line
    del metrics["validation"]["temporal"][winner]["films"]["tail_items"]
    write_json(path, metrics)
    assert "cannot be compared" in judge(copy, None).reasons[-1]


@pytest.mark.slow
def test_after_the_data_changed_cold_start_counts_only_who_was_hidden_then(
    copy: Workspace, first: Release
) -> None:
    dossier = read_json(first.folder / "dossier.json")
    split = next(s for s in dossier["split_hashes"] if s.startswith("cold_start"))
    dossier["split_hashes"] = dict.fromkeys(dossier["split_hashes"], "of other data")
    write_json(first.folder / "dossier.json", dossier)
    live = Release(first.id, first.folder)
    everybody = against(copy, live)
    path = first.judged / split / "hidden.parquet"
    hidden = pl.read_parquet(path)
    users = pl.read_parquet(copy.prepared / "users.parquet")
    people = pl.read_parquet(copy.reports / "evaluation" / "per_user.parquet").filter(
        (pl.col("split") == split) & (pl.col("part") == "validation")
    )
    names = users["user_id"].gather(people["user"].unique())
    assert names.is_in(hidden["user_id"].implode()).all()
    assert everybody[1]["people"] == len(names)
    hidden.filter(~pl.col("user_id").is_in(names[:20].implode())).write_parquet(path)
    assert against(copy, live)[1]["people"] == len(names) - 20
    hidden.clear().write_parquet(path)
    assert [gap["route"] for gap in against(copy, live)] == ["warm"]


@pytest.mark.slow
def test_a_live_release_that_cannot_be_compared_refuses(copy: Workspace, first: Release) -> None:
    shutil.rmtree(first.judged)
    found = judge(copy, None)
    assert not found.allowed
    assert "cannot be compared" in found.reasons[-1]


@pytest.mark.slow
def test_a_refused_decision_refuses(copy: Workspace) -> None:
    path = copy.reports / "decision.json"
    decision = read_json(path)
    write_json(path, {**decision, "released": False, "reasons": ["refused: too weak"]})
    assert judge(copy, None).reasons == ["refused: too weak"]
    path.unlink()
    with pytest.raises(ArtifactError, match=r"decision\.json"):
        judge(copy, None)


def test_times_of_the_question_are_kept(training: Training) -> None:
    """What a model knows of trends hangs on them."""
    seen: list[Histories] = []

    class Listening(ItemKNN):
        def score(self, histories: Histories, target: str) -> "np.ndarray":
            seen.append(histories)
            return super().score(histories, target)

    model = Listening()
    model.train(training)
    asked = np.array([77])
    histories = replace(Histories.of([[1, 2]]), timestamp=np.array([5, 6]), asked=asked)
    AsItStands(model, training.catalogue, training.catalogue, False).score(histories, "left")
    assert seen[0].asked is not None
    assert seen[0].timestamp is not None
    assert (seen[0].asked.tolist(), seen[0].timestamp.tolist()) == ([77], [5, 6])
