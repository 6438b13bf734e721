"""Titles are found as by looking at each of them."""

from hypothesis import given, settings
from hypothesis import strategies as st

from bridgerec.serving import titles as module
from bridgerec.serving.titles import Titles

TITLES = st.lists(st.text("aAbßéİ\n字\U0001f600", max_size=6), max_size=12)


@settings(max_examples=300, deadline=None)
@given(TITLES, st.text("aAbßséi\n字\U0001f600", max_size=3), st.integers(1, 5))
def test_what_is_found_is_what_is_there(titles: list[str], query: str, block: int) -> None:
    before, module.BLOCK = module.BLOCK, block
    try:
        found = [*Titles(titles).find(query)]
    finally:
        module.BLOCK = before
    assert found == [i for i, t in enumerate(titles) if query.casefold() in t.casefold()]


def test_a_part_that_two_titles_make_together_is_in_neither() -> None:
    assert [*Titles(["rain", "bow", "rainbow", "", "RAINBOWS"]).find("Rainbow")] == [2, 4]
    assert [*Titles(["a", "", ""]).find("")] == [0, 1, 2]
    assert [*Titles([]).find("")] == []
