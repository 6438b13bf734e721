"""Long loops, as a terminal, a log file and a program are told of them."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest

from bridgerec.progress import PROGRESS, Reached, bar, current, reaching, read_line, track, views


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextmanager
def at_a_terminal(monkeypatch: pytest.MonkeyPatch, kind: str = "xterm") -> Iterator[Terminal]:
    """Stderr is a terminal of 100 columns."""
    monkeypatch.delenv(PROGRESS, raising=False)
    for name, value in {"TERM": kind, "COLUMNS": "100"}.items():
        monkeypatch.setenv(name, value)
    with redirect_stderr(Terminal()) as terminal:
        yield terminal


def test_lines_tell_how_far_a_loop_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PROGRESS, "1")
    assert list(track([5, 6, 7], "things of two words")) == [5, 6, 7]
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
    with at_a_terminal(monkeypatch) as terminal:
        with bar("embedding", 40, "texts") as advance:
            advance(40)
        for told in ("embedding", "40/40", "texts/s", "0:00:00 left"):
            assert told in terminal.getvalue()
        with reaching("backfill", "people") as reach:
            reach(10, 40)  # by an earlier run
            reach(25, 40)
        assert "25/40" in terminal.getvalue()
    assert capsys.readouterr().out == ""


def test_what_is_printed_comes_above_the_bars_and_what_goes_to_a_file_stays_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with at_a_terminal(monkeypatch) as terminal:
        for stdout in (terminal, io.StringIO()):
            with redirect_stdout(stdout), bar("models trained", 2) as advance:
                advance(1)
                print("a model is trained")
            assert "a model is trained\n" in stdout.getvalue()
        assert terminal.getvalue().count("a model is trained") == 1


def test_a_loop_inside_is_shown_below_and_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_a_terminal(monkeypatch) as terminal:
        list(track(range(3), "epochs", inner=True))  # as a library
        assert terminal.getvalue() == ""
        with bar("models trained", 2) as advance:
            list(track(range(3), "epochs", inner=True))
            broken = track(range(5), "epochs", inner=True)
            next(broken)  # as by an error, it is closed later
        assert "    epochs" in terminal.getvalue()
        broken.close()
        with bar("another", 1) as advance:
            advance(1)
        assert "1/1" in terminal.getvalue()
    assert current() is None


def test_a_log_file_gets_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(PROGRESS, raising=False)

    def loops() -> list[str]:
        with bar("models trained", 1) as advance:
            list(track(range(3), "epochs", inner=True))
            advance(1)
        said = capsys.readouterr()
        assert said.out == ""
        return said.err.splitlines()

    assert loops() == []  # all was done within ten seconds
    monkeypatch.setattr(views, "NOTE_EVERY", 0)
    lines = loops()
    assert lines[0].startswith("  models trained 0/1; epochs 1/3 (0:00:0")
    assert lines[-1].startswith("  models trained 1/1 (0:00:00 left)")
    assert not any(ord(letter) < 32 for line in lines for letter in line)


def test_a_dumb_terminal_is_a_log_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_a_terminal(monkeypatch, "dumb") as terminal:
        with bar("embedding", 1) as advance:
            advance(1)
        assert terminal.getvalue() == ""


def test_a_loop_that_knows_its_length_late_tells_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PROGRESS, "1")
    with reaching("people") as reach:
        for done in (10, 30, 40):
            reach(done, 40)
    found = [read_line(line) for line in capsys.readouterr().out.splitlines()]
    assert found == [Reached("people", 30, 40), Reached("people", 40, 40)]
