"""Items of a simulated domain: text in two languages around one main theme each."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.data.simulation import words

CHINESE_SHARE = 0.15
PRICE_SPREAD = 0.35  # of the logarithm, inside a kind
COLD_SHARE = 0.03
NEW_SHARE = 0.10


@dataclass(frozen=True)
class SimulatedItems:
    """`rows` as they are written; `themes` (n, themes) sums to 1; `appeal` (n,) is the log of
    the item's general attraction; `released` (n,) is a day of the year; `cold` (n,) never sold."""

    rows: list[dict[str, Any]]
    themes: NDArray[np.float64]
    appeal: NDArray[np.float64]
    released: NDArray[np.int64]
    cold: NDArray[np.bool_]


def simulate_items(domain: str, n: int, rng: np.random.Generator) -> SimulatedItems:
    """`n` items with unique ids and titles."""
    count = len(words.THEMES)
    main = rng.integers(0, count, n)
    second = rng.integers(0, count, n)
    share = rng.uniform(0.7, 1.0, n)
    themes = np.zeros((n, count))
    np.add.at(themes, (np.arange(n), main), share)
    np.add.at(themes, (np.arange(n), second), 1 - share)
    chinese = rng.random(n) < CHINESE_SHARE
    appeal = np.round(-0.7 * np.log(rng.permutation(n) + 10.0), 6)
    released = np.where(rng.random(n) < NEW_SHARE, rng.integers(60, 330, n), 0)
    cold = rng.random(n) < COLD_SHARE
    seen: dict[str, int] = {}
    rows = [
        _row(domain, i, words.THEMES[main[i]], words.THEMES[second[i]], bool(chinese[i]), rng, seen)
        for i in range(n)
    ]
    return SimulatedItems(rows, themes, appeal, released, cold)


def add_prices(domain: str, items: SimulatedItems, rng: np.random.Generator) -> None:
    """A price for every item: what its kind usually costs, spread by a lognormal factor."""
    usual = {name: price for kind, price in words.PRICES[domain].items() for name in kind}
    factors = rng.lognormal(0, PRICE_SPREAD, len(items.rows))
    for row, factor in zip(items.rows, factors.tolist(), strict=True):
        kind = row["category"].rsplit(" > ", 1)[1]
        row["price"] = round(usual[kind] * factor, 2)


def _pick(options: tuple[Any, ...], rng: np.random.Generator) -> Any:
    return options[int(rng.integers(len(options)))]


def _row(
    domain: str,
    number: int,
    theme: words.Theme,
    other: words.Theme,
    chinese: bool,
    rng: np.random.Generator,
    seen: dict[str, int],
) -> dict[str, Any]:
    kind, brand = _pick(words.KINDS[domain], rng), _pick(words.BRANDS[domain], rng)
    tools = domain == "kitchenware"
    root = words.CATALOGUE_NAMES[domain]
    if chinese:
        subject = _pick(theme.chinese_tools if tools else theme.chinese_subjects, rng)
        pattern = _pick(words.CHINESE_PATTERNS[domain], rng)
        title = pattern.format(s=subject, k=kind[1], b=brand)
        mood = _pick(words.CHINESE_MOODS, rng)
        description = f"{mood}的{theme.chinese}作品，也适合喜欢{other.chinese}的人。"
        if tools:
            description = f"{mood}而耐用，为{theme.chinese}爱好者设计，也可用于{other.chinese}。"
        category = f"{root[1]} > {theme.chinese} > {kind[1]}"
    else:
        subject = _pick(theme.tools if tools else theme.subjects, rng)
        pattern = _pick(words.PATTERNS[domain], rng)
        title = pattern.format(s=subject, k=kind[0], b=brand)
        title = title[0].upper() + title[1:]
        one, two = _pick(words.MOODS, rng), _pick(words.MOODS, rng)
        scene = _pick(theme.subjects, rng)
        description = f"A {one} companion to {scene}, made for lovers of {theme.name.lower()}."
        if rng.random() < 0.5:
            description += f" With a {two} touch of {other.name.lower()}."
        category = f"{root[0]} > {theme.name} > {kind[0]}"
    seen[title] = seen.get(title, 0) + 1
    if seen[title] > 1:
        title += f"（第{seen[title]}版）" if chinese else f", No. {seen[title]}"
    return {
        "item_id": f"{domain[0].upper()}{number:05d}",
        "title": title,
        "description": description,
        "category": category,
        "brand": brand,
    }
