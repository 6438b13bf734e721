"""DVC's hash of a file or folder, computed without DVC."""

import hashlib
import json
from pathlib import Path

CHUNK = 1 << 20


def content_md5(path: Path) -> str:
    """What DVC writes as `md5` for this output: md5 of a file; of a folder, md5 of its listing
    and `.dir`."""
    if not path.is_dir():
        return _md5(path)
    text = json.dumps(listing(path), sort_keys=True)
    return hashlib.md5(text.encode()).hexdigest() + ".dir"


def listing(folder: Path) -> list[dict[str, str]]:
    """md5 and relpath of every file, in DVC's order."""
    files = [(p.relative_to(folder), p) for p in folder.rglob("*") if p.is_file()]
    rows = [{"md5": _md5(p), "relpath": name.as_posix()} for name, p in files]
    return sorted(rows, key=lambda row: row["relpath"])


def cached_listing(root: Path, md5: str) -> dict[str, str] | None:
    """relpath -> md5 of a folder of this hash, from DVC's cache; None if it is not there."""
    path = root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    if not path.is_file():
        return None
    return {row["relpath"]: row["md5"] for row in json.loads(path.read_text(encoding="utf-8"))}


def first_difference(root: Path, path: Path, md5: str) -> str:
    """Which file of a folder is not as in the folder of hash `md5`, as well as can be told."""
    known = cached_listing(root, md5) if md5.endswith(".dir") else None
    if known is None or not path.is_dir():
        return ""
    found = {row["relpath"]: row["md5"] for row in listing(path)}
    for name in sorted(known.keys() | found.keys()):
        if name not in found:
            return f"{name} is missing"
        if name not in known:
            return f"{name} was not there"
        if known[name] != found[name]:
            return f"{name} was changed"
    return ""


def _md5(path: Path) -> str:
    digest = hashlib.md5()  # DVC's choice; it names contents, nothing is protected by it
    with path.open("rb") as stream:
        while block := stream.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()
