"""Texts and files in a wrong encoding."""

import codecs
import gzip
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

# Windows-1252 gives the bytes 80-9F to other signs; Latin-1 keeps every byte's number
_SIGNS = {b: bytes([b]).decode("cp1252", "ignore") for b in range(0x80, 0xA0)}
_BYTES = {ord(sign): byte for byte, sign in _SIGNS.items() if sign}
# a byte that begins a character of UTF-8, and one that continues it
_SUSPICIOUS = f"\ufffd|[\u00c2-\u00f4][\u0080-\u00bf{''.join(_SIGNS.values())}]"
# letters that titles hardly use: "CAFÉ®" is no broken "CAFɮ"
_COMMON = re.compile("[^\u0000-\u007f\u0180-\u0217\u021c-\u02ff\u0460-\u05cf\u0700-\u07ff]")


def is_mojibake(text: str) -> bool:
    """Is this UTF-8 that was read as Latin-1 or Windows-1252, or were characters lost?

    Its characters, taken as bytes again, are valid UTF-8 (a cut last character is forgiven);
    a genuine text's are not, or it has characters that are no byte at all.
    """
    if "\ufffd" in text:
        return True
    try:
        raw = text.translate(_BYTES).encode("latin-1")
        decoded, _ = codecs.utf_8_decode(raw, "strict", False)
    except UnicodeError:
        return False
    return bool(_COMMON.search(decoded))


def mojibake(frame: pl.DataFrame, columns: Iterable[str]) -> pl.Series:
    """For each row: is any of its texts mojibake?  Only suspicious ones are decoded."""
    found = pl.repeat(False, frame.height, eager=True)
    for column in columns:
        texts = frame[column]
        suspicious = texts.str.contains(_SUSPICIOUS).fill_null(False).arg_true()
        broken = [is_mojibake(text) for text in texts.gather(suspicious)]
        found[suspicious.filter(pl.Series(broken, dtype=pl.Boolean))] = True
    return found.alias("mojibake")


def undecodable_lines(path: Path, n: int) -> tuple[int, int, list[dict[str, Any]]]:
    """How many lines of a text table are not UTF-8, of how many, and the first `n` of them."""
    count, line = 0, 0
    shown: list[dict[str, Any]] = []
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for line, raw in enumerate(file, start=1):
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError:
                count += 1
                if len(shown) < n:
                    text = raw.decode("utf-8", "backslashreplace").strip()
                    shown.append({"line": line, "text": text[:200]})
    return count, line, shown
