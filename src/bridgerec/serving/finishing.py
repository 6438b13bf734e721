"""What happens to a ranked list before it is answered: the rules, and the reasons."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from bridgerec.data.dataset import Histories
from bridgerec.models.base import Candidate
from bridgerec.serving.explain import Explainer
from bridgerec.serving.guard.metrics import rule_failed
from bridgerec.serving.people import Past
from bridgerec.serving.problems import frames
from bridgerec.serving.ranked import Ranked
from bridgerec.serving.rules import Context, Reranker, build_rules
from bridgerec.serving.shelf import Shelf

log = logging.getLogger(__name__)


class Finishing:
    """The rules of `service.rules` and the explanations.

    Raises:
        ConfigError: a rule cannot work with this catalogue.
    """

    def __init__(self, shelf: Shelf, service: Mapping[str, Any]) -> None:
        rules = build_rules(service["rules"])
        self.varies = any(rule.varies for rule in rules)  # whether `diversity` has an effect
        self._reranker = Reranker(rules, shelf.table, int(service["rules_pool"]))
        self._explainer = Explainer(shelf.table)

    def wanted(self, k: int, diversity: float) -> int:
        """How many of a target's best items are needed for an answer of length k."""
        return self._reranker.wanted(k, diversity)

    def rerank(self, shelf: Shelf, ranked: Ranked, past: Past, k: int, diversity: float) -> Ranked:
        """At most k items of a target's best ones, in the order of the rules."""
        if self._reranker.idle(diversity):
            return Ranked(ranked.items[:k], ranked.scores[:k])
        asked = past.histories.asked
        now = None if asked is None else int(asked[0])
        # rules are not checked again: what somebody adds while the service runs must not make its
        # answers fail
        context = Context(shelf.table, past.items, k, now, diversity)
        return self._reranker(ranked, context)

    def explain(
        self,
        shelf: Shelf,
        model: Candidate,
        histories: Histories,
        target: str,
        ranked: Ranked,
        past: Past,
    ) -> list[dict[str, Any]]:
        """What to tell about each item of `ranked`, one entry per item."""
        added, n = shelf.added, len(shelf.catalogue)
        rows = {i: i - added.start for i in ranked.items.tolist() if i >= n}
        stand_ins = {i: (added.near[r], added.weights[r]) for i, r in rows.items()}
        meant = {added.stand_in(i): i for i in past.items.tolist() if i >= n}
        explainer = self._explainer.over(shelf.table)
        return explainer(model, histories, target, ranked, stand_ins, meant)


def told_failures(request_id: str, lists: Sequence[Ranked]) -> list[str]:
    """A note for each rule that failed; whoever runs the service is told, too."""
    failed: dict[str, Exception] = {}
    for ranked in lists:
        failed.update(ranked.failed)
    for rule, error in failed.items():
        what, where = type(error).__name__, " < ".join(frames(error)[::-1])
        log.error("request %s: the rule %s failed, %s at %s", request_id, rule, what, where)
        rule_failed(rule)
    return [f"the rule {rule} failed; the list is made without it" for rule in failed]
