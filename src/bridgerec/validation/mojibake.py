"""Texts that were read in a wrong encoding: "CafÃ©", "ÖÐÎÄ", or characters lost for good.

Two signs, looked for in every part of a text, since the rest of it may be sound:

- UTF-8 read as Windows-1252 or Latin-1: the first byte of a character and those that continue it,
  seen as characters where no genuine text has them.  What may be the last letter of a word with
  its quote, dash or trade mark ("MAÇû, "CÔTÉ™", "é »") is left alone.
- Any other encoding (GBK, Big5, Windows-1251): at least four such characters in a row, with
  letters that no language has together.
"""

from collections.abc import Iterable

import polars as pl

# Windows-1252 gives the bytes 80-9F to other signs; Latin-1 keeps every byte's number
_SIGNS = "".join(bytes([b]).decode("cp1252", "ignore") for b in range(0x80, 0xA0))
_HIGH = "\u0080-\u00bf" + _SIGNS
# what may stand right behind a word; the first ones with another word right behind them
_JOINS = "\u00a0\u00ad’…–—"
_ENDS = _JOINS + "«»‹›‘“”™®©°ªº¹²³´·•"
# a character of UTF-8: its first byte (of Latin, accents and Greek; of Cyrillic, Hebrew and
# Arabic, which "×", "Ø" and "ÚŽASNÝ" need; of the rest) and the bytes that continue it
_FIRST, _OTHER, _NEXT = "[ÂÃÄÅÆÈÌÎÏ]", "[ÐÑ×ØÙÚÛ]", f"[{_HIGH}]"
_LONG = f"(?:[à-ï]{_NEXT}{{2}}|[ð-ô]{_NEXT}{{3}})"
_ANY = f"(?:{_FIRST}{_NEXT}|{_OTHER}{_NEXT}|{_LONG})"
# of these those that stand behind no word, and behind no letter
_NO_END = f"[{_HIGH}--[{_ENDS}]]"
_TELLS = f"[{_HIGH}--[{_ENDS}šžœ]]"
_START = r"(?:^|\PL)"
_MISREAD = "|".join(
    (
        "\ufffd",  # what could not be decoded
        rf"\p{{Ll}}{_FIRST}{_NEXT}",  # "cafÃ©": a capital inside a word
        rf"\p{{Ll}}[ÂÃ](?: |$)|{_START}[ÂÃ]  ",  # "voilÃ ": a no-break space became a space
        f"{_FIRST}{_NO_END}",  # "Ã¼": no such sign follows a word
        rf"{_FIRST}[{_ENDS}--[{_JOINS}]]\pL",  # "Å›wiat", "SÃ“": no letter follows such a sign
        rf"{_FIRST}\u00ad\p{{Ll}}",  # "LÃ\u00addia"
        rf"{_START}[ÂÃ][\u00a0-\u00ba\u00bc-\u00bf‘’“™–—]",  # "Ã–l", "10 Ã— 15"
        r"[ÃÅ]’\pL\pL",  # "CÅ’UR"
        "Â[©®°ª²³º]",  # "NESCAFEÂ®"
        f"[à-ï](?:{_TELLS}{_NEXT}|{_NEXT}{_TELLS})|{_START}â{_NEXT}{{2}}",  # "itâ€™s", "â™ª"
        f"[ð-ô](?:{_TELLS}{_NEXT}{{2}}|{_NEXT}{_TELLS}{_NEXT}|{_NEXT}{{2}}{_TELLS})",  # emoji
        f"{_ANY}{_ANY}",  # one right behind another: "é«˜é»‘", "Ð§Ð°Ð¹"
    )
)
_ROW = f"[À-ÿ{_HIGH}]{{4,}}"
_LETTERS = [
    frozenset(letters + letters.upper())
    for letters in (
        *("äöüß", "àâæçèéêëîïôùûüÿœ", "áéíóúüñ", "àáâãçéêíóôõúü", "àèéìíòóù", "àáçèéíïòóúü"),
        *("áðéíóúýþæö", "áðíóúýæø", "åäöæøé", "áéíóöúü", "áäéíóôúýšž", "âçîöüû", "õäöüšž"),
        "àáâãèéêìíòóôõùúýð",
    )
]  # of languages, as far as Latin-1 and Windows-1252 have them


def mojibake(frame: pl.DataFrame, columns: Iterable[str]) -> pl.Series:
    """For each row: is any of its texts mojibake?"""
    found = pl.repeat(False, frame.height, eager=True)
    for column in columns:
        texts = frame[column]
        found |= texts.str.contains(_MISREAD).fill_null(False)
        rows = texts.str.extract_all(_ROW)
        some = (rows.list.len() > 0).fill_null(False).arg_true()
        mixed = [any(map(_mixed, row)) for row in rows.gather(some)]
        found[some.filter(pl.Series(mixed, dtype=pl.Boolean))] = True
    return found.alias("mojibake")


def _mixed(row: str) -> bool:
    """Are these characters of no one language?  Repeated ones ("Ääääh") and signs prove nothing."""
    signs = set(row) - set(_ENDS) - set("„‚¡¿")
    letters = sum(sign.isalpha() for sign in signs)
    return len(signs) > 2 and letters > 1 and not any(signs <= own for own in _LETTERS)
