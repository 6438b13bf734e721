"""DVC's graph as the flow sees it."""

import os
from pathlib import Path

import pytest

from bridgerec.errors import BridgeRecError, ConfigError
from bridgerec.pipeline.graph import needed, reproduce, stages
from helpers import dvc

TWO = {"two@a", "two@b", "two@c"}


def test_stages_in_running_order(toy: Path) -> None:
    graph = stages(toy)
    assert graph == {
        "one": set(),
        **{two: {"one"} for two in TWO},
        "three": TWO,
        "aside": set(),
    }
    done: set[str] = set()
    for stage, before in graph.items():
        assert before <= done
        done.add(stage)


def test_what_kept_releases_hold_is_no_stage(toy: Path) -> None:
    before = stages(toy)
    inside = toy / "releases" / "a1" / "bento" / "templates"
    inside.mkdir(parents=True)
    (inside / "dvc.yaml").write_text((toy / "dvc.yaml").read_text())
    assert stages(toy) == before
    (toy / "more").mkdir()
    (toy / "more" / "dvc.yaml").write_text("stages: {last: {cmd: date, deps: [../three.txt]}}")
    assert set(stages(toy)) == {*before, "more/dvc.yaml:last"}


def test_needed(toy: Path) -> None:
    graph = stages(toy)
    assert set(needed(graph, ["two"])) == {"one", *TWO}
    assert set(needed(graph, ["two@b"])) == {"one", "two@b"}
    assert needed(graph, None) == graph
    with pytest.raises(ConfigError, match="no stage 'four'"):
        needed(graph, ["four"])


def test_reproduce_streams_and_fails_with_last_lines(toy: Path) -> None:
    lines: list[str] = []
    reproduce(toy, "one", lines.append)
    assert "making one.txt" in lines
    (toy / "data.txt").write_text("poison-one.txt")
    with pytest.raises(BridgeRecError, match=r"(?s)stage one failed.*the poison was found"):
        reproduce(toy, "one", lines.append)


def test_no_pipeline_and_broken_pipeline_say_so(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="bridgerec init"):
        stages(tmp_path)
    (toy / "dvc.yaml").write_text("stages: {one: {outs: [x]}}")
    with pytest.raises(ConfigError, match="cannot read the pipeline"):
        stages(toy)


def test_the_graph_does_not_depend_on_the_current_directory(toy: Path) -> None:
    here = Path.cwd()
    try:
        os.chdir("/")
        outside = stages(toy)
        os.chdir(toy)
        assert stages(Path()) == outside
    finally:
        os.chdir(here)
    assert dvc(toy, "stage", "list", "--name-only").split() == sorted(
        outside, key=lambda s: ["one", "two", "three", "aside"].index(s.split("@")[0])
    )
