"""Bars of long loops, as lines for whoever reads them."""

import pytest

from bridgerec.progress import PROGRESS, Reached, bar, reaching, read_line, track


def test_lines_tell_how_far_a_loop_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PROGRESS, "1")
    assert list(track([5, 6, 7], "things of two words", terminal=False)) == [5, 6, 7]
    lines = capsys.readouterr().out.splitlines()
    found = [read_line(line) for line in lines]
    assert found[0] == Reached("things of two words", 1, 3)
    assert found[-1] == Reached("things of two words", 3, 3)
    assert len(found) == 2  # the second came within a second of the first
    with bar("hidden", 3, shown=False) as advance:
        advance(3)
    with bar("empty", 0) as advance:
        advance(0)
    assert capsys.readouterr().out == ""
    assert read_line("@progress is what it said") is None
    assert Reached("x", 1, 4).percent == 25


def test_on_a_terminal_it_is_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(PROGRESS, raising=False)
    with bar("embedding", 40, "texts") as advance:
        advance(40)
    said = capsys.readouterr()
    assert "embedding" in said.err
    assert "40/40" in said.err
    assert "texts/s" in said.err
    with reaching("backfill", "people") as reach:
        reach(10, 40)  # by an earlier run
        reach(25, 40)
    assert "25/40" in capsys.readouterr().err
    list(track(range(3), "epochs", terminal=False))
    assert capsys.readouterr().err == said.out == ""


def test_a_loop_that_knows_its_length_late_tells_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PROGRESS, "1")
    with reaching("people") as reach:
        for done in (10, 30, 40):
            reach(done, 40)
    found = [read_line(line) for line in capsys.readouterr().out.splitlines()]
    assert found == [Reached("people", 30, 40), Reached("people", 40, 40)]
