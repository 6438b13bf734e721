"""Broken texts are found, genuine ones of any language are not."""

import polars as pl
import pytest

from bridgerec.validation.mojibake import mojibake

GENUINE = (
    "Café crème à la française", "Übergrößenträger, weiß", "茶文化入门", "日本の茶", "Война и мир",
    "« Où es-tu ? »", "„Spaß“ – 5 €", "NESCAFÉ® Gold", "ANDRÉ’S", "Weiß®", "MENÜ…", "Crème brûlée™",
    "Señor Ñandú", "naïve", "Ÿ", "Ðorđe", "Łódź", "plain", "", "Das Große „Ü“", "ÉCLAIR – À GOGO",
    "Curaçao… ça va ?", "50 °C ± 2", "São Paulo", "Ångström", "Côte d’Azur »",
    # capitals that begin a character of UTF-8, with what may follow a word
    "SÃO PAULO", "IRMÃ", "“IRMÃ”", "IRMû", "«\u00a0IRMÃ\u00a0»", "MAÇî", "IRMÃ\u00a0DULCE", "LÃ",
    "AMANHÃ… HOJE", "CÂLIN D’ÎLE", "CÔTÉ™", "OÙ EST…", "«\u00a0VOILÀ\u00a0»", "SMÅ’S", "«Å»",
    "PERÚ®", "RÜYÂ’", "HÂLÂ", "GERÄ\u00adTE", "TÀI LIỆU TOÁN", "ĐÃ QUÊN", "COSÌ…", "È “COSÌ”",
    # small letters that do, before a no-break space, quotes, or letters of Windows-1252
    "«\u00a0café\u00a0»", "Ty víš…", "Nôž\u00a0»", "fiancé—“I", "Tomáš”…", "bœuf à l’œil",
    # signs that are letters elsewhere; letters in a row
    "12×\u00a015 cm", "3×½", "Ø\u00a050 mm", "Ø½”", "Úžasný", "ÚŽASNÝ", "ÄÖÜß", "Buchstaben äöüß",
    "ÁÉÍÓÚ", "Ääääh", "„üçüncü“", "„Ááá", "óþægð", "Kraków → Żółć", "Türkçe öğüt", "Sữa đặc",
)  # fmt: skip

BROKEN = (
    "Le cafÃ© de l’hÃ´tel", "CafÃ© 中文", "dÃ©jÃ  vu", "voilÃ tout, voilÃ ", "Ã  la carte", "Ã–l",
    "SEÃ‘OR", "CÃ”TÃ‰", "DRÃ”LE", "LÃ\u00addia", "MarÃ\u00ada", "Å’uvre", "CÅ’UR", "Å»ycie",
    "20 Â°C", "NESCAFEÂ® Gold", "helloÂ  world", "10 Ã— 15 cm", "itâ€™s “fine”", "Î±-lipoic",
    "ðŸ˜€ fun", "nhÆ°", "BucureÈ™ti", "SÄ°YAH", "lost \ufffd", "茶 è\u008c¶", "èŒ¶ – 茶",
    "é«˜é»‘ “Tee”",
)  # fmt: skip


def flagged(*texts: str) -> list[str]:
    frame = pl.DataFrame({"title": texts}, schema={"title": pl.String})
    return [t for t, broken in zip(texts, mojibake(frame, ["title"]), strict=True) if broken]


def misread(text: str, encoding: str) -> str:
    """As software reads it that takes undefined bytes of Windows-1252 for control characters."""
    raw = text.encode()
    if encoding == "latin-1":
        return raw.decode("latin-1")
    return "".join(bytes([b]).decode("cp1252", "ignore") or chr(b) for b in raw)


def test_genuine_text_is_left_alone() -> None:
    assert flagged(*GENUINE, *map(str.upper, GENUINE)) == []


def test_texts_that_are_broken_in_part_are_found() -> None:
    assert flagged(*BROKEN) == list(BROKEN)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
@pytest.mark.parametrize(
    "text", ["Café crème", "Größe", "茶文化入门", "日本の茶", "Война и мир", "L’été", "5 €", "Łódź"]
)
def test_misread_text_is_found(text: str, encoding: str) -> None:
    broken = misread(text, encoding)
    # cut in the middle, and with genuine text around it
    parts = [broken, *([broken[:-1]] if len(text.encode()) > 5 else []), f"“Tee” {broken} 茶"]
    assert flagged(*parts) == parts


@pytest.mark.parametrize("read_as", ["latin-1", "cp1252"])
@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("中文", "gbk"),
        ("红茶入门", "gbk"),
        ("茶文化", "big5"),
        ("Война", "cp1251"),
        ("홍차", "euc-kr"),
    ],
)
def test_other_encodings_are_found(text: str, encoding: str, read_as: str) -> None:
    broken = text.encode(encoding).decode(read_as)
    assert flagged(broken, f"{broken} Tee") == [broken, f"{broken} Tee"]


def test_every_column_of_a_row_counts_and_other_rows_do_not() -> None:
    titles = [*GENUINE, "ok", None, "lost \ufffd"]
    frame = pl.DataFrame({"title": titles, "brand": ["x"] * len(titles)})
    frame[len(GENUINE), "brand"] = misread("茶", "cp1252")
    assert mojibake(frame, ["title", "brand"]).arg_true().to_list() == [
        len(GENUINE), len(GENUINE) + 2,
    ]  # fmt: skip
