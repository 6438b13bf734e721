"""Rules about single items: business rules and freshness."""

import numpy as np
from pydantic import Field, model_validator

from bridgerec.errors import ConfigError
from bridgerec.serving.columns import Columns, levels
from bridgerec.serving.ranked import Ranked
from bridgerec.serving.rules import KEY, Context, Rule, RuleConfig, resorted

DAY = 86_400


class BoostConfig(RuleConfig):
    """Which items: those of any of the `brands`, `categories` (the beginning of a path, such as
    "Books > Jazz") or `items` (ids), and, if `domains` are named, of these domains only.

    `add` is in deviations of the pool's scores; negative: downwards.  `multiply` stretches the
    distance to the pool's lowest score."""

    brands: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    add: float = Field(0.0, allow_inf_nan=False)
    multiply: float = Field(1.0, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _says_something(self) -> "BoostConfig":
        if not (self.brands or self.categories or self.items or self.domains):
            raise ValueError("name brands, categories, items or domains")
        if self.add == 0 and self.multiply == 1:
            raise ValueError("`add` or `multiply` must change something")
        return self


class Boost(Rule):
    """Lifts or lowers what the shop wants lifted or lowered."""

    config_class = BoostConfig
    config: BoostConfig

    def __init__(self, config: RuleConfig | None = None) -> None:
        super().__init__(config)
        c = self.config
        self._brands = {brand.casefold() for brand in c.brands}
        self._paths = [levels(category) for category in c.categories]
        self._items, self._domains = set(c.items), set(c.domains)

    def check(self, columns: Columns) -> None:
        if not any(self.meant(columns, i) for i in range(len(columns))):
            raise ConfigError(
                f"{KEY}: Boost names {self.config.model_dump(exclude_defaults=True)}, and no item "
                "of the catalogue fits. Correct the names or remove the rule."
            )

    def meant(self, columns: Columns, item: int) -> bool:
        """Whether the rule is about this item."""
        if self._domains and columns.domain[item] not in self._domains:
            return False
        if not (self._brands or self._paths or self._items):
            return True
        path = levels(columns.category[item])
        return (
            columns.brand[item].casefold() in self._brands
            or columns.item_id[item] in self._items
            or any(path[: len(own)] == own for own in self._paths)
        )

    def apply(self, pool: Ranked, context: Context) -> Ranked:
        if len(pool.items) == 0:
            return pool
        meant = np.array([self.meant(context.columns, i) for i in pool.items.tolist()])
        low = pool.scores.min()
        lifted = low + (pool.scores - low) * self.config.multiply + self.config.add
        return resorted(pool, np.where(meant, lifted, pool.scores).astype(np.float32))


class FreshnessConfig(RuleConfig):
    """A new item gains `weight` deviations of the pool's scores, half of it after
    `half_life_days`."""

    weight: float = Field(0.5, allow_inf_nan=False)
    half_life_days: float = Field(30.0, gt=0, allow_inf_nan=False)


class Freshness(Rule):
    """Lifts what is new, by the time since somebody first met it; nothing where that is unknown."""

    config_class = FreshnessConfig

    def check(self, columns: Columns) -> None:
        if not np.isfinite(columns.born).any():
            raise ConfigError(
                f"{KEY}: Freshness needs times, and this data knows none. Remove the rule."
            )

    def apply(self, pool: Ranked, context: Context) -> Ranked:
        if context.now is None:
            return pool
        age = np.maximum(context.now - context.columns.born[pool.items], 0) / DAY
        new = np.nan_to_num(np.exp2(-age / self.config.half_life_days), nan=0.0)
        return resorted(pool, (pool.scores + self.config.weight * new).astype(np.float32))
