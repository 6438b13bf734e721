"""Rules about the list as a whole: variety, calibration, quotas."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bridgerec.errors import ConfigError
from bridgerec.serving.columns import Columns, levels
from bridgerec.serving.ranked import Ranked
from bridgerec.serving.rules import KEY, Context, Floats, Rule, RuleConfig


def picked(pool: Ranked, places: NDArray[np.int64], values: Floats) -> Ranked:
    """The pool's items at `places` first (with their `values` when they were picked), then the
    others in their old order, below them."""
    rest = np.ones(len(pool.items), dtype=bool)
    rest[places] = False
    order = np.concatenate([places, np.flatnonzero(rest)])
    below = values.min(initial=np.inf, where=np.isfinite(values)) if len(values) else 0.0
    others = pool.scores[rest]
    if len(others):
        others = others - others.max() + np.float32(below)
    scores = np.minimum.accumulate(np.concatenate([values, others]).astype(np.float32))
    return Ranked(pool.items[order], scores)


class MMRConfig(RuleConfig):
    """`least`: the diversity of requests that ask for less."""

    least: float = Field(0.0, ge=0, le=1)


class MMR(Rule):
    """Maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998) on the item vectors.

    Picks again and again the item with the highest

        (1 - d) * score - d * (its largest similarity to those picked)

    where d is the request's `diversity` and similarities are cosines, divided by their deviation
    within the pool, so that d = 0.5 weighs both alike whatever the encoder.  d = 0 changes
    nothing.
    """

    config_class = MMRConfig
    varies = True

    def check(self, columns: Columns) -> None:
        if columns.vectors_of is None:
            raise ConfigError(f"{KEY}: MMR needs item vectors, and the bundle has none.")

    def idle(self, diversity: float) -> bool:
        return max(diversity, self.config.least) == 0

    def apply(self, pool: Ranked, context: Context) -> Ranked:
        d = max(context.diversity, self.config.least)
        if d == 0 or len(pool.items) < 2 or context.columns.vectors_of is None:
            return pool
        vectors = context.columns.vectors_of(pool.items).astype(np.float32, copy=False)
        likeness = vectors @ vectors.T
        spread = likeness[~np.eye(len(pool.items), dtype=bool)].std()
        if spread > 1e-6:
            likeness /= spread
        likeness *= np.float32(d)
        # "value" is the score minus what the similarity to those picked costs, kept up to date
        relevance = pool.scores * np.float32(1 - d)
        value = relevance - likeness.min()  # nothing is picked: nobody can be less similar
        count = min(context.k, len(pool.items))
        places, values = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.float32)
        left = np.zeros(len(pool.items), dtype=np.float32)  # -inf for those picked
        for step in range(count):
            best = int(value.argmax())
            places[step], values[step] = best, value[best]
            left[best] = -np.inf
            np.minimum(value, relevance - likeness[best], out=value)
            value += left
        return picked(pool, places, values)


class CalibratedConfig(RuleConfig):
    """`weight` of calibration against the scores; `depth`: which level of the category path, 1 the
    broadest; `smoothing` is the paper's alpha; `recency` multiplies a history item once per newer
    item."""

    weight: float = Field(0.5, ge=0, le=1)
    depth: int = Field(2, ge=1)
    smoothing: float = Field(0.01, gt=0, lt=1)
    recency: float = Field(1.0, gt=0, le=1)


class Calibrated(Rule):
    """Calibrated recommendations (Steck, RecSys 2018): categories in the list as in the history.

    Picks greedily by (1 - weight) * score - weight * KL(p || q), with p the history's shares of
    categories and q the list's, in the submodular form of the paper's section 4:
    the sum over categories g of p(g) log(sum over picked items of q(g | item)).  Categories are
    compared by the name of the level alone, so that a taste for jazz books calls for jazz films.
    Categories that no item of the pool has change nothing.
    """

    config_class = CalibratedConfig

    def check(self, columns: Columns) -> None:
        _need_categories(columns, "Calibrated")

    def apply(self, pool: Ranked, context: Context) -> Ranked:
        c = self.config
        share: Counter[str] = Counter()
        for age, item in enumerate(context.history[::-1].tolist()):
            path = levels(context.columns.category[item])
            if path:
                share[path[: c.depth][-1]] += c.recency**age
        if c.weight == 0 or not share or len(pool.items) < 2:
            return pool
        names = {name: i for i, name in enumerate(share)}
        p = np.array([*share.values()]) / sum(share.values())
        paths = [levels(context.columns.category[item]) for item in pool.items.tolist()]
        # one more group, of share 0, for all categories that the history lacks
        group = np.array([names.get(x[: c.depth][-1], len(p)) if x else len(p) for x in paths])
        p = np.append(p, 0.0)
        relevance = (1 - c.weight) * pool.scores.astype(np.float64)
        filled = np.zeros(len(p))
        count = min(context.k, len(pool.items))
        places, values = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.float32)
        for step in range(count):
            without = filled + c.smoothing * p
            gain = np.zeros(len(p))
            known = p > 0
            gain[known] = p[known] * np.log1p((1 - c.smoothing) / without[known])
            value = relevance + c.weight * gain[group]
            best = int(value.argmax())
            places[step], values[step] = best, value[best]
            relevance[best] = -np.inf
            filled = without
            filled[group[best]] += 1 - c.smoothing
        return picked(pool, places, values)


class CategoryQuotaConfig(RuleConfig):
    """At most `most` items per category, told apart by the first `depth` levels of the path.
    `strict`: an answer may become shorter for it; otherwise those too many come last."""

    most: int = Field(3, ge=1)
    depth: int = Field(2, ge=1)
    strict: bool = True


class CategoryQuota(Rule):
    """A limit per category.  Items without a category are not limited."""

    config_class = CategoryQuotaConfig

    def check(self, columns: Columns) -> None:
        _need_categories(columns, "CategoryQuota")

    def apply(self, pool: Ranked, context: Context) -> Ranked:
        count: Counter[tuple[str, ...]] = Counter()
        kept = np.ones(len(pool.items), dtype=bool)
        for place, item in enumerate(pool.items.tolist()):
            path = levels(context.columns.category[item])[: self.config.depth]
            count[path] += 1
            kept[place] = not path or count[path] <= self.config.most
        if kept.all():
            return pool
        if self.config.strict:
            return Ranked(pool.items[kept], pool.scores[kept])
        return picked(pool, np.flatnonzero(kept), pool.scores[kept])


def _need_categories(columns: Columns, rule: str) -> None:
    if not any(columns.category):
        raise ConfigError(
            f"{KEY}: {rule} needs categories, and no item has one. Map the column in "
            "data.domains.NAME.item_columns, or remove the rule."
        )
