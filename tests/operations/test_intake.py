"""What the service accepted becomes the next version of data/: once, whole, or not at all."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from bridgerec.cli.app import app
from bridgerec.config import Workspace
from bridgerec.data.readers import collect, read_interactions, read_items
from bridgerec.errors import ConfigError, ValidationFailed
from bridgerec.operations import intake as module
from bridgerec.operations.intake import take_in
from bridgerec.operations.news import has, read_marks, write_marks
from bridgerec.pipeline.graph import Busy
from bridgerec.pipeline.versions import version
from bridgerec.registry.contents import content_md5
from bridgerec.runtime import read_json
from bridgerec.serving.state import Event, NewItem
from helpers import accept, dvc, small_params, small_world

NOW = 1_650_000_000


@pytest.fixture(scope="module")
def versioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace under DVC, to be copied."""
    root = tmp_path_factory.mktemp("versioned") / "workspace"
    root.mkdir()
    small_world(root)
    expectations = Path(module.__file__).parents[1] / "templates" / "expectations"
    (root / "expectations").symlink_to(expectations)
    dvc(root, "init", "-q", "--no-scm")
    dvc(root, "add", "-q", "data")
    return root


@pytest.fixture
def workspace(versioned: Path, tmp_path: Path) -> Workspace:
    """One whose service accepted two good events and one new item."""
    root = shutil.copytree(versioned, tmp_path / "workspace", symlinks=True)
    found = Workspace.open(root)
    accept(found, [event(1), event(2, item="r99", kind="purchase", value=2.5)], [ITEM])
    return found


def event(number: int, item: str = "l03", person: str = "u03", **more: Any) -> Event:
    domain = {"l": "left", "r": "right"}.get(item[0], item)
    return Event(
        **{
            "event_id": f"e{number}",
            "person": person,
            "domain": domain,
            "item_id": item,
            "timestamp": NOW + number,
            **more,
        }
    )


ITEM = NewItem("right", "r99", 'a "new" thing, right', "told", price=2.0, vector=b"ab")


def rows(workspace: Workspace, name: str) -> list[tuple[Any, ...]]:
    domain = workspace.params.data.domains[name]
    frame = read_interactions(workspace, name, domain)
    return collect(frame, workspace.table(domain.interactions)).rows()


def titles(workspace: Workspace, name: str) -> dict[str, str]:
    items = read_items(workspace, name, workspace.params.data.domains[name])
    return dict(items.select("item_id", "title").iter_rows())


def sound(workspace: Workspace) -> None:
    """data/ is what data.dvc says, and nothing of an intake lies about."""
    assert content_md5(workspace.root / "data") == version(workspace.root)
    assert not (workspace.operations / "intake").exists()
    assert not (workspace.operations / "intake.json").exists()
    assert not list((workspace.root / "data").rglob(".*"))


def test_events_and_items_are_taken_once_as_a_new_version(workspace: Workspace) -> None:
    before = version(workspace.root)
    old = {name: rows(workspace, name) for name in ("left", "right")}
    taken = take_in(workspace)
    assert (taken.rows, taken.items, taken.left) == ({"left": 1, "right": 1}, {"right": 1}, {})
    assert rows(workspace, "left") == [*old["left"], ("u03", "l03", NOW + 1, "view")]
    assert rows(workspace, "right") == [*old["right"], ("u03", "r99", NOW + 2, "purchase")]
    assert titles(workspace, "right")["r99"] == 'a "new" thing, right'
    assert taken.before == before != taken.after == version(workspace.root)
    sound(workspace)

    arguments = ["intake", "--json", "-C", str(workspace.root)]
    again = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert again["before"] == again["after"] == taken.after
    assert again["rows"] == {}
    history = read_json(workspace.reports / "intake" / "history.json")
    assert [h["after"] for h in history] == [taken.after]

    # the record of what was taken belongs to the version
    accept(workspace, [event(3)], [])
    assert take_in(workspace).rows == {"left": 1}
    (workspace.root / "data.dvc").write_text(
        (workspace.root / "data.dvc").read_text().replace(str(version(workspace.root)), str(before))
    )
    dvc(workspace.root, "checkout", "-q", "-f")
    assert rows(workspace, "left") == old["left"]
    assert take_in(workspace).rows == {"left": 2, "right": 1}


def test_what_does_not_fit_waits_and_keeps_nothing_else_out(workspace: Workspace) -> None:
    accept(
        workspace,
        [
            event(4, item="l77"),
            event(5, item="films"),
            event(6, person="  "),
            event(7, timestamp=5),
        ],
        [NewItem("films", "f1", "one"), NewItem("left", " ", "blank")],
    )
    taken = take_in(workspace)
    assert taken.rows == {"left": 1, "right": 1}
    assert taken.left == {
        "events of unknown items": 1,
        "events of unknown domains": 1,
        "events with a blank id": 1,
        "events before 1990 or after 2100": 1,
        "items of unknown domains": 1,
        "items with a blank id or title": 1,
    }
    accept(workspace, [], [NewItem("left", "l77", "late", image="../../secret.png")])
    taken = take_in(workspace)
    assert (taken.rows, taken.items) == ({"left": 1}, {"left": 1})
    items = read_items(workspace, "left", workspace.params.data.domains["left"])
    assert items.filter(pl.col("item_id") == "l77")["image"].item() == ""


def test_an_item_with_new_words_takes_its_row_and_a_later_edit_stays(workspace: Workspace) -> None:
    accept(workspace, [], [NewItem("left", "l03", "renamed")])
    count = len(titles(workspace, "left"))
    assert take_in(workspace).changed == {"left": 1}
    assert titles(workspace, "left")["l03"] == "renamed"
    assert len(titles(workspace, "left")) == count
    table = workspace.root / "data" / "left" / "items.csv"
    table.write_text(table.read_text().replace("renamed", "by hand"))
    assert take_in(workspace).changed == {}
    assert titles(workspace, "left")["l03"] == "by hand"


def test_new_words_leave_the_language_of_an_item_as_it_is(workspace: Workspace) -> None:
    take_in(workspace)
    table = workspace.root / "data" / "left" / "items.csv"
    items = pl.read_csv(table)
    items.with_columns(language=pl.lit("en")).write_csv(table)
    old = titles(workspace, "left")
    accept(workspace, [], [NewItem("left", "l02", old["l02"]), NewItem("left", "l03", "renamed")])
    assert take_in(workspace).changed == {"left": 1}  # what is as it was is no news
    accept(workspace, [], [NewItem("left", "l88", "new")])
    assert take_in(workspace).items == {"left": 1}
    found = read_items(workspace, "left", workspace.params.data.domains["left"])
    assert dict(found.select("item_id", "language").iter_rows()) == {
        **dict.fromkeys(old, "en"),
        "l88": "",
    }


def test_critical_findings_refuse_and_leave_everything_as_it_was(workspace: Workspace) -> None:
    params = small_params()
    params["validation"] = {"latest_timestamp": NOW}
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(params))
    before = content_md5(workspace.root / "data")
    with pytest.raises(ValidationFailed, match=r"times later than .*(?s:.*)reports/intake"):
        take_in(workspace)
    assert content_md5(workspace.root / "data") == before == version(workspace.root)
    assert (workspace.reports / "intake" / "validation" / "summary.html").is_file()
    assert not (workspace.reports / "validation").exists()
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(small_params()))
    assert take_in(workspace).rows == {"left": 1, "right": 1}
    sound(workspace)


def test_accounts_and_positions(workspace: Workspace) -> None:
    root = workspace.root
    for name in ("left", "right"):
        path = root / "data" / name / "interactions.csv"
        frame = pl.read_csv(path).drop("timestamp").with_row_index("position", 1)
        frame.write_csv(path)
    pl.DataFrame(
        [("left", "acc", "u03"), ("left", "u50", "somebody"), ("right", "u03", "u03")],
        schema=["domain", "user_id", "person_id"],
        orient="row",
    ).write_csv(root / "accounts.csv")
    params: dict[str, Any] = small_params()
    params["data"]["identities"] = "accounts.csv"
    params["data"]["domains"]["left"]["interactions"] = str(root / "data/left/interactions.csv")
    params["split"] = {"protocols": ["leave_last", "cold_start"]}
    params["gate"] = {"protocol": "leave_last"}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    accept(workspace, [event(0, item="r05"), event(9, person="u50")], [])
    taken = take_in(workspace)
    assert taken.left == {"events of a person whose id is somebody else's account": 1}
    left, right = rows(workspace, "left"), rows(workspace, "right")
    newest = max(row[-1] for row in left[:-1] + right[:-2])
    # (user, item, kind, position): r05 came first, then l03, then r99
    assert left[-1] == ("acc", "l03", "view", newest + 2)
    assert right[-2:] == [
        ("u03", "r05", "view", newest + 1),
        ("u03", "r99", "purchase", newest + 3),
    ]


def test_places_that_have_no_version_and_stages_at_work_are_told(workspace: Workspace) -> None:
    params: dict[str, Any] = small_params()
    params["data"]["domains"]["left"]["items"] = "../items.csv"
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(ConfigError, match=r"left\.items: .* lies outside"):
        take_in(workspace)
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(small_params()))
    reader = f"""
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from bridgerec.pipeline.versions import held
root = Path({str(workspace.root)!r})
with held(root, root / "data"):
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", reader], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(Busy, match="in use by a stage"):
            take_in(workspace)
        other.communicate("")
    assert take_in(workspace).rows == {"left": 1, "right": 1}


def test_marks(tmp_path: Path) -> None:
    marks = np.array([bytes([n % 256]) * 15 + bytes([n // 256]) for n in range(600)], dtype="S16")
    write_marks(tmp_path / "m", np.concatenate([marks[::-1], marks[:9]]))
    found = read_marks(tmp_path / "m")
    assert len(found) == 600
    assert has(found, marks).all()
    assert not has(found, np.array([b"x" * 16, b"\xff" * 16], dtype="S16")).any()
    assert not has(read_marks(tmp_path / "none"), marks).any()


KILLER = """
import os, signal, sys
sys.path[:0] = {path!r}
from bridgerec.cli.app import app
from bridgerec.config import Workspace
from bridgerec.operations import intake
from bridgerec.validation import run

run.validate = lambda *arguments: None  # another test's subject, and slow to import
left = {calls}

def at_last(inner):
    def call(*arguments, **more):
        global left
        left -= 1
        if left == 0 and {before}:
            os.kill(os.getpid(), signal.SIGKILL)
        found = inner(*arguments, **more)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    return call

if {renames}:
    intake.swap_folders = lambda one, other: False
    intake.Path.rename = at_last(intake.Path.rename)
else:
    intake.{name} = at_last(intake.{name})
intake.take_in(Workspace.open({root!r}))
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_is_the_old_or_the_new(workspace: Workspace) -> None:
    old = content_md5(workspace.root / "data")
    sizes: list[int] = []
    moments: list[tuple[str, int, bool, bool]] = [
        ("_build", 1, True, False),
        ("_rewrite", 2, False, False),
        ("write_marks", 1, True, False),
        ("swap_folders", 1, True, False),
        ("swap_folders", 1, False, False),
        ("add_version", 1, False, False),
        ("write_json", 3, False, False),  # the killed one's history, what is pending, its history
    ]
    for number, moment in enumerate([*moments, ("rename", 1, False, True)], start=10):
        accept(workspace, [event(number)], [])
        name, calls, before, renames = moment
        code = KILLER.format(
            path=sys.path, name=name, calls=calls, before=before, renames=renames,
            root=str(workspace.root),
        )  # fmt: skip
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, (moment, done.stderr)
        data = workspace.root / "data"
        if not renames:
            sizes.append(len(rows(workspace, "left")))
            assert all(path.read_bytes()[-1:] == b"\n" for path in data.rglob("*.csv"))
            whole = (content_md5(data) == old) == (sizes[-1] == sizes[0])
            assert whole, f"{moment}: a mixture"
        else:
            assert not data.exists()  # this system cannot exchange names
    # the next intake finishes or begins anew, and every event is there once
    taken = take_in(workspace)
    assert taken.rows.get("left") == 1
    assert [row[2] for row in rows(workspace, "left")[-9:]] == [NOW + 1, *range(NOW + 10, NOW + 18)]
    history = read_json(workspace.reports / "intake" / "history.json")
    assert sum(told["rows"].get("left", 0) for told in history) == 9
    assert [told["after"] for told in history[:-1]] == [told["before"] for told in history[1:]]
    sound(workspace)
