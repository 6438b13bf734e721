"""Where rules and explanations come in: plain functions between scores and answer."""

from typing import TYPE_CHECKING, Any

from bridgerec.serving.ranked import Ranked

if TYPE_CHECKING:
    from bridgerec.serving.ranker import Part, Question, Recommender


def pool(recommender: "Recommender") -> int:
    """How many of a target's best items the rules want to see; 0: as many as are asked for."""
    return 0


def rerank(
    recommender: "Recommender", question: "Question", part: "Part", ranked: Ranked
) -> Ranked:
    """One target's list after the rules; without rules the list itself."""
    return ranked


def explain(
    recommender: "Recommender", question: "Question", part: "Part", ranked: Ranked
) -> list[dict[str, Any] | None]:
    """What to tell about each item of `ranked`, one entry per item; None: nothing."""
    return [None] * len(ranked.items)
