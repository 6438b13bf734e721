"""Log files are read on from where one stopped."""

from pathlib import Path

from bridgerec.monitoring.log_files import LogFiles


def add(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_every_line_is_read_once_when_it_has_its_end(tmp_path: Path) -> None:
    one, two = tmp_path / "requests.1.jsonl", tmp_path / "requests.2.jsonl"
    add(one, "a\n\nb\nhal")
    add(tmp_path / "feedback.1.jsonl", "another kind\n")
    log = LogFiles(tmp_path, "requests")
    assert list(log.new()) == [b"a", b"b"]
    assert log.unfinished == 1
    assert list(log.new()) == []
    add(two, "of a new worker\n")
    add(one, "f a line\n")
    assert list(log.new()) == [b"half a line", b"of a new worker"]
    assert log.unfinished == 0


def test_what_is_there_can_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "requests.1.jsonl"
    add(path, "old\n")
    log = LogFiles(tmp_path, "requests")
    log.skip()
    add(path, "new\n")
    add(tmp_path / "requests.2.jsonl", "newer\n")
    assert list(log.new()) == [b"new", b"newer"]


def test_no_folder_is_no_line(tmp_path: Path) -> None:
    log = LogFiles(tmp_path / "none", "requests")
    log.skip()
    assert list(log.new()) == log.files == []
