"""Broken texts are found, genuine ones of any language are not."""

import polars as pl
import pytest

from bridgerec.validation.encoding import is_mojibake, mojibake

GENUINE = (
    "Café crème à la française", "Übergrößenträger, weiß", "茶文化入门", "日本の茶", "Война и мир",
    "« Où es-tu ? »", "„Spaß“ – 5 €", "NESCAFÉ® Gold", "ANDRÉ’S", "Weiß®", "MENÜ…", "Crème brûlée™",
    "Señor Ñandú", "naïve", "Ÿ", "Ðorđe", "Łódź", "plain", "", "Das Große „Ü“", "ÉCLAIR – À GOGO",
    "Curaçao… ça va ?", "50 °C ± 2", "São Paulo", "Ångström", "Côte d’Azur »",
)  # fmt: skip


def misread(text: str, encoding: str) -> str:
    """As software reads it that takes undefined bytes of Windows-1252 for control characters."""
    raw = text.encode()
    if encoding == "latin-1":
        return raw.decode("latin-1")
    return "".join(bytes([b]).decode("cp1252", "ignore") or chr(b) for b in raw)


@pytest.mark.parametrize("text", GENUINE)
def test_genuine_text_is_left_alone(text: str) -> None:
    assert not is_mojibake(text)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
@pytest.mark.parametrize(
    "text", ["Café crème", "Größe", "茶文化入门", "日本の茶", "Война и мир", "L’été", "5 €", "Łódź"]
)
def test_misread_text_is_found(text: str, encoding: str) -> None:
    broken = misread(text, encoding)
    assert is_mojibake(broken)
    assert is_mojibake(broken[:-1]) or len(text.encode()) < 6  # cut in the middle


def test_every_column_of_a_row_counts_and_other_rows_do_not() -> None:
    titles = [*GENUINE, "ok", None, "lost \ufffd"]
    frame = pl.DataFrame({"title": titles, "brand": ["x"] * len(titles)})
    frame[len(GENUINE), "brand"] = misread("茶", "cp1252")
    assert mojibake(frame, ["title", "brand"]).arg_true().to_list() == [
        len(GENUINE), len(GENUINE) + 2,
    ]  # fmt: skip
