"""Re-ranking rules: plug-ins that reorder the model's best items before they are answered.

    service:
      rules:
        - {use: "bridgerec.serving.boosts:Boost", brands: [Northlight], add: 0.5}
        - {use: "bridgerec.serving.diversity:MMR"}

They are applied in this order.  A rule gets the pool (the model's best items) with scores of mean 0
and deviation 1, and returns the same items, or some of them, in its own order with scores that
fall; so each rule builds on what the one before wanted, whatever kinds they are.
`Ranked.moved` then tells which rule changed the place of which item of the answer:
`{"item", "rule", "from", "to"}`, places counted from 1.
A rule that raises, or gives what it may not, is left out of that answer (`Ranked.failed`).
`bridgerec.testing.RuleContract` is the test that every rule, yours too, has to pass.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from bridgerec.config import Plugin, import_class, wrong_keys
from bridgerec.errors import ConfigError
from bridgerec.serving.columns import Columns
from bridgerec.serving.ranked import Ranked

KEY = "service.rules"
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Context:
    """What a rule may look at beside the pool.

    `history` (m,) are global item indices, oldest first; `k` is the length of the answer; `now`
    the moment of the question in seconds, None where the data know no times; `diversity` (0 to
    1) is what the request asks for.
    """

    columns: Columns
    history: NDArray[np.int64]
    k: int
    now: int | None = None
    diversity: float = 0.0


class RuleConfig(BaseModel):
    """Base of the typed options of a rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(ABC):
    """A re-ranking rule.  Subclasses set `config_class` and implement `apply`; those that do what a
    request's `diversity` asks for set `varies`."""

    config_class: ClassVar[type[RuleConfig]] = RuleConfig
    varies: ClassVar[bool] = False

    def __init__(self, config: RuleConfig | None = None) -> None:
        self.config: Any = config or self.config_class()

    def check(self, columns: Columns) -> None:  # noqa: B027
        """Called once, when the service starts.

        Raises:
            ConfigError: the catalogue lacks what the rule needs.
        """

    def idle(self, diversity: float) -> bool:
        """Whether no pool would change, so that the model's best k items are all that is needed."""
        return False

    @abstractmethod
    def apply(self, pool: Ranked, context: Context) -> Ranked:
        """The pool's items, or some of them, each once, in a new order.

        Scores come in with mean 0 and deviation 1 (all 0 where they are equal), best first; those
        that go out must be finite and never rise.  The same pool and context give the same answer.
        """


def build_rules(entries: Iterable[Plugin | dict[str, Any]]) -> tuple[Rule, ...]:
    """The rules of `service.rules`.

    Raises:
        ConfigError: there is no such rule, or an option is wrong.
    """
    rules = []
    for place, entry in enumerate(entries):
        try:
            plugin = entry if isinstance(entry, Plugin) else Plugin.model_validate(entry)
            found = import_class(plugin.use, Rule, KEY)  # type: ignore[type-abstract]
            rules.append(found(found.config_class.model_validate(plugin.options)))
        except ValidationError as error:
            keys = wrong_keys(error)
            raise ConfigError(f"{KEY}[{place}]: {keys}") from error
    return tuple(rules)


class Reranker:
    """Applies rules to the `pool` best items of a model."""

    def __init__(self, rules: Iterable[Rule], columns: Columns, pool: int = 200) -> None:
        self.rules, self.pool = tuple(rules), pool
        for rule in self.rules:
            rule.check(columns)

    def idle(self, diversity: float) -> bool:
        """Whether no rule would change anything; one that cannot tell is asked for its list."""
        try:
            return all(rule.idle(diversity) for rule in self.rules)
        except Exception:  # somebody else's code
            return False

    def wanted(self, k: int, diversity: float = 0.0) -> int:
        """How many of the model's best items an answer of length k needs."""
        return k if self.idle(diversity) else max(k, self.pool)

    def __call__(self, ranked: Ranked, context: Context) -> Ranked:
        """The answer: at most `context.k` items, with the model's own scores, by the rules that
        did not fail.

        `ranked` holds the model's best `wanted(k)` items, or more; the rest is not looked at.
        """
        size = self.wanted(context.k, context.diversity)
        first = Ranked(ranked.items[:size], ranked.scores[:size])
        steps, pool, failed = [first.items], first, []
        for rule in self.rules:
            given = Ranked(pool.items, standardise(pool.scores))
            try:
                pool = _sound(rule.apply(given, context), given)
            except Exception as error:  # somebody else's code must not cost the answer
                failed.append((type(rule).__name__, error))
            steps.append(pool.items)
        answer = Ranked(pool.items[: context.k], _looked_up(first, pool.items[: context.k]))
        moved = ranked.moved + self._moved(answer, steps)
        return Ranked(answer.items, answer.scores, moved, tuple(failed))

    def _moved(self, answer: Ranked, steps: list[NDArray[np.int64]]) -> tuple[dict[str, Any], ...]:
        """For every rule the items of the answer whose place it changed."""
        places = [{item: i + 1 for i, item in enumerate(step.tolist())} for step in steps]
        names = [type(rule).__name__ for rule in self.rules]
        return tuple(
            {"item": item, "rule": name, "from": before[item], "to": after[item]}
            for item in answer.items.tolist()
            for name, before, after in zip(names, places, places[1:], strict=False)
            if before[item] != after[item]
        )


def standardise(scores: Floats) -> Floats:
    """Scores with mean 0 and deviation 1; equal scores become zeros."""
    if len(scores) == 0:
        return scores
    centred = scores.astype(np.float64) - scores.mean(dtype=np.float64)
    spread = centred.std()
    if spread <= 1e-6 * max(1.0, float(np.abs(scores).max())):
        return np.zeros_like(scores, dtype=np.float32)
    return np.asarray(centred / spread, dtype=np.float32)


def resorted(pool: Ranked, scores: Floats) -> Ranked:
    """The pool by new scores (n,), best first; equal ones keep their order."""
    order = np.argsort(-scores, kind="stable")
    return Ranked(pool.items[order], scores[order])


def _sound(pool: Ranked, given: Ranked) -> Ranked:
    """What a rule made of the pool it was given.

    Raises:
        ValueError: it invented or repeated an item, or a score is missing or no number.
    """
    items = pool.items.tolist()
    if len(set(items)) < len(items) or not set(items) <= set(given.items.tolist()):
        raise ValueError("a rule invented or repeated an item")
    if pool.scores.shape != pool.items.shape or not np.isfinite(pool.scores).all():
        raise ValueError("a rule gave scores that are missing or no numbers")
    return pool


def _looked_up(first: Ranked, items: NDArray[np.int64]) -> Floats:
    score = dict(zip(first.items.tolist(), first.scores.tolist(), strict=True))
    return np.array([score[item] for item in items.tolist()], dtype=np.float32)
