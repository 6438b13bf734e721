"""Options changed in the text of params.yaml; every other character stays as it is."""

import difflib
from pathlib import Path
from typing import Any

import yaml

from bridgerec.errors import ConfigError
from bridgerec.runtime import atomic_file
from bridgerec.tuning.space import Options

Edit = tuple[int, int, str]  # from, to, new text


def read_text(path: Path) -> str:
    """The file with its own line ends."""
    return path.read_bytes().decode("utf-8")


def write_text(path: Path, text: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def edited(text: str, changes: dict[str, Options]) -> str:
    """`text` with `changes` (candidate -> option -> value) under `models`.

    Raises:
        ConfigError: the file is written in a way (such as an alias) that cannot be changed here.
    """
    wanted = yaml.safe_load(text)
    for name, options in changes.items():
        wanted["models"][name] = {**wanted["models"][name], **options}
    models = dict(_entries(dict(_entries(yaml.compose(text)))["models"]))
    result = text
    edits = [e for name, options in changes.items() for e in _edits(text, models[name], options)]
    for start, end, new in sorted(edits, reverse=True):
        result = result[:start] + new + result[end:]
    try:
        right = yaml.safe_load(result) == wanted
    except yaml.YAMLError:
        right = False
    if not right:
        raise ConfigError(
            "params.yaml cannot be changed without touching other entries (does it use anchors?). "
            f"Write these options under models by hand: {_flow(changes)}"
        )
    return result


def difference(old: str, new: str) -> str:
    """A unified diff; empty when nothing differs."""
    lines = [text.splitlines(keepends=True) for text in (old, new)]
    found = difflib.unified_diff(lines[0], lines[1], "params.yaml", "params.yaml (tuned)")
    return "".join(line if line.endswith("\n") else line + "\n" for line in found)


def _entries(node: Any) -> list[tuple[str, Any]]:
    return [(key.value, value) for key, value in node.value]


def _edits(text: str, entry: yaml.MappingNode, options: Options) -> list[Edit]:
    present = dict(_entries(entry))
    edits = [
        (present[option].start_mark.index, _end(present[option]), _inset(present[option], value))
        for option, value in options.items()
        if option in present
    ]
    new = [f"{o}: {_flow(value)}" for o, value in options.items() if o not in present]
    if not new:
        return edits
    if entry.flow_style:
        at = _end(entry.value[-1][1])
        return [*edits, (at, at, "".join(f", {line}" for line in new))]
    at = text.find("\n", _end(present["use"]))  # a comment may follow on that line
    at = len(text) if at < 0 else at - (text[at - 1] == "\r")
    gap = ("\r\n" if "\r\n" in text else "\n") + " " * entry.start_mark.column
    return [*edits, (at, at, "".join(gap + line for line in new))]


def _end(node: Any) -> int:
    """Where a node's text ends; PyYAML ends a block at the next token, after any comments."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _inset(node: Any, value: Any) -> str:
    # a block list may stand as far left as its key, where other values may not
    block = isinstance(node, yaml.CollectionNode) and not node.flow_style
    return "  " * block + _flow(value)


def _flow(value: Any) -> str:
    return str(yaml.safe_dump([value], default_flow_style=True, width=10**6)).strip()[1:-1]
