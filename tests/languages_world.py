"""A target with items of two languages, and models that know some of them."""

from typing import Any

import numpy as np
import polars as pl

from bridgerec.config import Params
from bridgerec.data.dataset import Cases, Catalogue, Histories, Training
from bridgerec.evaluation.judge import Judge
from bridgerec.evaluation.protocol import evaluate
from bridgerec.evaluation.segments import Languages
from helpers import small_params

PEOPLE, ITEMS = 200, 40  # of each language
LATIN, CHINESE = "script_latin", "script_chinese_characters"
ENGLISH, FRENCH = "language_en", "language_fr"  # where the catalogue tells


def two_languages(
    english: int = ITEMS, chinese: int = ITEMS, people: int = PEOPLE, told: bool = False
) -> Training:
    """`left` is English; `right` has items of both languages, English ones first.  Everybody has
    met one item of `left`; the first item of each language in `right` is the most popular one.
    `told`: the catalogue of `right` tells the languages, and the second one is French."""
    titles = [f"thing {i}" for i in range(10)]
    titles += [f"story {i}" for i in range(english)]
    titles += [f"histoire {i}" if told else f"安静的故事 {i} (DVD)" for i in range(chinese)]
    domains = ["left"] * 10 + ["right"] * (english + chinese)
    ids = [f"i{n}" for n in range(len(titles))]
    items = pl.DataFrame({"domain": domains, "item_id": ids, "title": titles})
    if told:
        said = [None] * 10 + ["en"] * english + ["FR "] * chinese
        items = items.with_columns(language=pl.Series(said, dtype=pl.String))
    rows = [[0, 10 + (n % 2) * english] for n in range(people)]
    return Training(Catalogue(items), np.arange(people), Histories.of(rows), None)


def asked(training: Training) -> Cases:
    """Each person wants one item of `right`; the second half wants those of the second language."""
    block = training.catalogue.block("right")
    title = training.catalogue.items["title"][block.start : block.stop]
    places = np.flatnonzero(title.str.contains("故事|histoire").to_numpy()) + block.start
    others = np.setdiff1d(np.arange(block.start, block.stop), places)
    n = len(training.users)
    wanted = [
        [int((places if u >= n // 2 and len(places) else others)[-1 - u % 10])] for u in range(n)
    ]
    return Cases("right", training.users, Histories.of([[0, 10]] * n), Histories.of(wanted))


class Model:
    """Knows the wanted items of everybody, or, without `chinese`, of the first language alone."""

    def __init__(self, training: Training, cases: Cases, top: int, chinese: bool) -> None:
        self.catalogue, self.cases, self.top, self.chinese = training.catalogue, cases, top, chinese

    def block(self, target: str) -> slice:
        return self.catalogue.block(target)

    def cross_score(self, histories: Histories, target: str, users: np.ndarray) -> np.ndarray:
        block = self.block(target)
        rng = np.random.default_rng(0)
        scores = rng.random((len(users), block.stop - block.start), dtype=np.float32)
        wanted = self.cases.relevant.items[users] - block.start
        known = (wanted < ITEMS) | self.chinese
        # `top` others stand above the wanted item
        scores[np.arange(len(users)), wanted] = np.where(known, 2.0, -1.0)
        scores[:, 1 : 1 + self.top] += 4
        return scores

    score = cross_score


def judged(told: bool = False, **models: Any) -> tuple[dict[str, Any], pl.DataFrame, Params]:
    """The evaluation of `models` (keywords of `Model`) on validation."""
    training = two_languages(told=told)
    cases = asked(training)
    use = {"use": "bridgerec.models.popularity:Popularity"}
    made = small_params(candidates=list(models), models=dict.fromkeys(models, use),
                        targets=["right"], split={"protocols": ["temporal"]})  # fmt: skip
    params = Params.model_validate(made)
    languages = Languages.of(training.catalogue)
    judge = Judge(cases, training, training.catalogue, languages, params)
    ranked = {
        name: evaluate(Model(training, cases, **options), cases, part="validation")  # type: ignore[arg-type]
        for name, options in models.items()
    }
    found = {name: {"right": judge.judge(name, [ranking])} for name, ranking in ranked.items()}
    people = {part: {"temporal": {"right": judge.sizes}} for part in ("validation", "test")}
    metrics = {"validation": {"temporal": found}, "test": {"temporal": found}}
    return {**metrics, "info": {"people": people}}, judge.per_user("temporal", "validation"), params


POPULARITY = {"top": 8, "chinese": True}
BETTER = {"top": 4, "chinese": True}
BLIND = {"top": 0, "chinese": False}  # best of all on average, and useless in Chinese
