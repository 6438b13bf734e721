"""The search: resumed, never worse than what is there, and put into params.yaml by hand's rules."""

import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from bridgerec.config import Workspace, load_params
from bridgerec.data.dataset import Catalogue
from bridgerec.data.prepare import prepare
from bridgerec.errors import ArtifactError, ConfigError, MissingDependency
from bridgerec.models.base import Candidate, find_class
from bridgerec.tuning.judge import Judge
from bridgerec.tuning.params_file import difference, edited
from bridgerec.tuning.search import Search, State
from bridgerec.tuning.space import distributions, space_of
from helpers import REPOSITORY, small_params

pytest.importorskip("optuna")
MODELS = {
    "popularity": {"use": "bridgerec.models.popularity:Popularity"},
    "ease": {"use": "bridgerec.models.ease:EASE"},
    "knn": {"use": "bridgerec.models.item_knn:ItemKNN", "neighbours": 1},
    "ials": {"use": "bridgerec.models.ials:IALS", "embedding_size": 8, "iterations": 4},
}


@pytest.fixture
def workspace(small_workspace: Workspace) -> Workspace:
    """Prepared, with vectors that tell nothing."""
    change(small_workspace, trials=8, seconds=None)
    prepare(small_workspace)
    n = len(Catalogue.read(small_workspace.prepared / "items.parquet"))
    vectors = np.random.default_rng(0).normal(size=(n, 8)).astype(np.float32)
    small_workspace.vectors.mkdir(parents=True)
    save_file({"vectors": vectors}, small_workspace.vectors / "vectors.safetensors")
    return small_workspace


def change(workspace: Workspace, **tune: Any) -> None:
    params = small_params(
        candidates=list(MODELS),
        models=MODELS,
        split={"protocols": ["leave_last"]},
        gate={"protocol": "leave_last"},
        evaluation={"bootstrap": 100, "seeds": 2},
        tune=tune,
    )
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def trials(search: Search) -> list[tuple[Any, ...]]:
    """What the ended trials tried and got."""
    return [
        (t.user_attrs["options"], t.value, t.intermediate_values)
        for t in search.study.get_trials()
        if "seconds" in t.user_attrs
    ]


def test_the_first_trial_is_what_is_there_and_the_best_is_not_worse(workspace: Workspace) -> None:
    search, heard = Search(workspace, "knn"), list[State]()
    result = search.run(heard.append)
    tried = trials(search)
    assert [s.trials for s in heard] == list(range(9))
    assert tried[0][0]["neighbours"] == 1  # outside of the space
    judge = Judge(workspace, "knn")
    assert result.searched[0] == judge.values(judge.train({}), "search").mean()
    assert result.searched[1] == judge.values(judge.train(result.changes), "search").mean()
    assert result.searched[1] > result.searched[0]
    assert result.held_back[1] == judge.values(judge.train(result.changes), "held_back").mean()
    for options, _, _ in tried[1:]:
        assert 20 <= options["neighbours"] <= 1000
        assert options["recency"] == float(f"{options['recency']:.4g}")


def test_the_value_is_the_mean_over_targets(workspace: Workspace) -> None:
    judge = Judge(workspace, "ease")
    models = judge.train({})
    values = judge.values(models, "search")
    full = judge.asked
    alone = []
    for i in range(2):
        judge.asked = {**full, "search": [full["search"][i]]}
        alone.append(judge.values(models, "search").mean())
    assert values.mean() == pytest.approx(np.mean(alone))
    assert len(values) == len({u for _, c in full["search"] for u in c.users.tolist()})


def test_nobody_is_on_both_sides(workspace: Workspace) -> None:
    people = {
        name: {u for _, cases in asked for u in cases.users.tolist()}
        for name, asked in Judge(workspace, "ease").asked.items()
    }
    assert not people["search"] & people["held_back"]
    assert people["early"] < people["search"]
    assert len(people["held_back"]) < len(people["search"])


def test_the_early_look_takes_a_part_of_the_iterations(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, train = [], Judge.train
    monkeypatch.setattr(
        Judge, "train", lambda self, o, seed=0: seen.append(o) or train(self, o, seed)
    )
    Search(workspace, "ials")._measure({"alpha": 3.0}, lambda value: value < 2)
    assert seen == [{"alpha": 3.0, "iterations": 1}]
    Search(workspace, "ials")._measure({"alpha": 3.0}, lambda value: False)
    assert seen[1:] == [{"alpha": 3.0, "iterations": 1}, {"alpha": 3.0}]


def test_bad_trials_are_given_up(workspace: Workspace) -> None:
    change(workspace, trials=14, seconds=None)
    state = Search(workspace, "ials").run().state
    assert state.trials == 14
    assert 0 < state.given_up < 9


def test_a_killed_search_goes_on_to_the_same_end(workspace: Workspace) -> None:
    code = (
        "from bridgerec.config import Workspace; from bridgerec.tuning.search import Search; "
        "Search(Workspace.open('.'), 'ials').run(lambda state: print(state.trials, flush=True))"
    )
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=workspace.root)
    assert process.stdout is not None
    while process.stdout.readline() not in (b"3\n", b""):
        pass
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    killed = trials(Search(workspace, "ials"))
    assert 3 <= len(killed) < 8
    Search(workspace, "ials").run()
    resumed = trials(Search(workspace, "ials"))
    (workspace.tuning / "ials.db").unlink()
    whole = Search(workspace, "ials")
    whole.run()
    assert len(resumed) == 8
    assert trials(whole) == resumed
    assert resumed[: len(killed)] == killed


def test_a_larger_budget_goes_on_and_another_question_begins_anew(workspace: Workspace) -> None:
    first = Search(workspace, "ease")
    first.run()
    change(workspace, trials=9, seconds=None)
    assert Search(workspace, "ease").state().trials == 8
    change(workspace, trials=9, seconds=None, held_back=0.4)
    assert Search(workspace, "ease").state().trials == 0


def test_the_budget_in_seconds_ends_it(workspace: Workspace) -> None:
    change(workspace, trials=None, seconds=0.001)
    assert Search(workspace, "ease").run().state.trials == 1


def test_the_command_shows_a_diff_and_writes_when_told(workspace: Workspace) -> None:
    path = workspace.root / "params.yaml"
    path.write_text("# kept\n" + path.read_text())
    before = path.read_text()
    command = [sys.executable, "-m", "bridgerec.cli", "tune", "knn", "-C", str(workspace.root)]
    shown = subprocess.run(command, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "-    neighbours: 1\n" in shown.stdout
    assert "bridgerec tune knn --apply" in shown.stdout
    assert path.read_text() == before
    assert subprocess.run([*command, "--apply"], capture_output=True).returncode == 0
    after = path.read_text()
    assert after.startswith("# kept\n")
    assert load_params(path).models["knn"].options["neighbours"] >= 20
    assert difference(before, after).strip() in shown.stdout


@pytest.mark.parametrize(
    ("name", "space", "message"),
    [
        ("nobody", {}, "no entry under models"),
        ("popularity", {}, "declares no space"),
        ("ease", {"speed": {"low": 0, "high": 1}}, "no such option"),
        ("ease", {"recency": {"low": 0.5, "high": 1.5}}, "1.5 is out of place"),
        ("ials", {"embedding_size": {"choice": ["many"]}}, "'many' is out of place"),
        ("ials", {"embedding_size": {"low": 2.5, "high": 9}}, "2.5 is out of place"),
    ],
)
def test_a_wrong_space_is_told(
    small_workspace: Workspace, name: str, space: dict[str, Any], message: str
) -> None:
    change(small_workspace, spaces={name: space} if space else {})
    with pytest.raises(ConfigError, match=message):
        space_of(small_workspace.params, name)


@pytest.mark.parametrize(
    ("tune", "message"),
    [
        ({"trials": None, "seconds": None}, "no search would end"),
        ({"protocols": ["temporal"]}, "not in split.protocols"),
        ({"spaces": {"nobody": {}}}, "no entry under models"),
        ({"spaces": {"ease": {"recency": {"low": 1, "high": 0.5}}}}, "must be less than high"),
        ({"spaces": {"ease": {"recency": {"low": 0, "high": 1, "log": True}}}}, "above 0"),
        ({"spaces": {"ease": {"recency": {"choice": []}}}}, "at least 1 item"),
    ],
)
def test_a_wrong_section_is_told(
    small_workspace: Workspace, tune: dict[str, Any], message: str
) -> None:
    change(small_workspace, **tune)
    with pytest.raises(ConfigError, match=message):
        _ = small_workspace.params


def test_every_declared_space_fits_its_candidate() -> None:
    params = load_params(REPOSITORY / "params.yaml")
    searched = [n for n in params.candidates if find_class(params.models[n].use).space]
    assert len(searched) >= 8
    for name in searched:
        space = space_of(params, name)
        assert distributions(params, name, space).keys() == space.keys()
        effort = find_class(params.models[name].use).effort
        assert (
            effort is None
            or effort in find_class(params.models[name].use).config_class.model_fields
        )


def test_a_trial_that_cannot_be_judged_is_no_end(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = Judge.train

    def fragile(self: Judge, options: dict[str, Any], seed: int = 0) -> list[Candidate]:
        if options.get("regularization", 0) > 50:
            raise ArtifactError("scores that are not finite")
        return train(self, options, seed)

    monkeypatch.setattr(Judge, "train", fragile)
    search = Search(workspace, "ease")
    assert search.run().state.trials == 8
    errors = [t for t in search.study.get_trials() if "error" in t.user_attrs]
    assert 0 < len(errors) < 7


def test_optuna_is_asked_for(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingDependency, match=r"bridgerec\[tune\]"):
        Search(workspace, "ease")


def test_what_is_missing_or_damaged_is_told(workspace: Workspace) -> None:
    workspace.tuning.mkdir(parents=True)
    (workspace.tuning / "ease.db").write_bytes(b"nothing of the kind" * 99)
    with pytest.raises(ArtifactError, match="Delete it"):
        Search(workspace, "ease")
    (workspace.prepared / "items.parquet").unlink()
    with pytest.raises(ArtifactError, match="does not exist"):
        Search(workspace, "ials")


TEXT = """# about
models:   # all
  ease: {use: "a:B", regularization: 4.0, }  # closed form
  ials:
    # before
    use: "a:C"  # after
    alpha: 1e3 # old
    half_lives:
    - 3
    - 15   # days

  # of the next
  knn: {use: a:D}
seed: 1  # last, without a line end"""


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(["ease", "ials", "knn"]),
        st.dictionaries(
            st.sampled_from(["regularization", "alpha", "half_lives", "new", "other"]),
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text("a:# '\"{", max_size=4)
            | st.lists(st.integers(), max_size=3),
            min_size=1,
        ),
    ),
    st.sampled_from(["\n", "\r\n"]),
)
def test_an_edit_changes_the_options_and_no_comment(
    changes: dict[str, dict[str, Any]], newline: str
) -> None:
    old = TEXT.replace("\n", newline)
    new = edited(old, changes)
    wanted = yaml.safe_load(old)
    for name, options in changes.items():
        wanted["models"][name].update(options)
    assert yaml.safe_load(new) == wanted
    assert new.count("\r") == (new.count("\n") if newline == "\r\n" else 0)
    for comment in ("about", "all", "closed form", "before", "after", "of the next", "last"):
        assert f"# {comment}" in new


def test_an_edit_that_would_reach_elsewhere_is_refused() -> None:
    text = "models:\n  a: &shared {use: a:B, x: 1}\n  b: *shared\n"
    with pytest.raises(ConfigError, match="by hand"):
        edited(text, {"b": {"x": 2}})
