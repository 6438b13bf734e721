"""Finding items by words and by likeness, in the space of item vectors."""

from typing import Any

import numpy as np

from bridgerec.serving.live import UNREAD, Live
from bridgerec.serving.problems import NotFound
from bridgerec.serving.ranker import Recommender
from bridgerec.serving.schemas import (
    Filters,
    RecommendRequest,
    SearchRequest,
    SimilarRequest,
    targets_of,
)
from bridgerec.serving.topk import top_k


def unknown(recommender: Recommender, domain: str) -> str:
    """That there is no such domain, in words."""
    return f"there is no domain {domain!r}; the domains are {list(recommender.shelf.index)}"


def find(recommender: Recommender, domain: str, item_id: str) -> int:
    """The global index of an item.

    Raises:
        NotFound: there is no such domain or item.
    """
    if domain not in recommender.shelf.index:
        raise NotFound(unknown(recommender, domain))
    item = recommender.shelf.index[domain].get(item_id)
    if item is None:
        raise NotFound(f"{domain} has no item {item_id!r}")
    return item


def similar(recommender: Recommender, request: SimilarRequest) -> list[dict[str, Any]]:
    """The items whose vectors have the largest cosine to an item's, over all targets.

    Raises:
        NotFound: the item does not exist.
        ConfigError: a target is unknown or k too large.
    """
    targets = request.target if request.target is not None else request.domain
    item = find(recommender, request.domain, request.item_id)
    recommender.check(targets, request.k)
    shelf = recommender.shelf
    vector = shelf.vector(np.array([item]))[0]
    choices = np.concatenate([shelf.choices(t) for t in targets_of(targets)])
    cosine = np.concatenate([shelf.cosines(vector, t) for t in targets_of(targets)])
    best = top_k(cosine, choices != item, request.k)
    found = zip(shelf.show(choices[best].tolist()), cosine[best].tolist(), strict=True)
    return [
        {"rank": rank, **shown, "score": score, "explanation": None}
        for rank, (shown, score) in enumerate(found, 1)
    ]


async def search(live: Live, request: SearchRequest, request_id: str) -> dict[str, Any]:
    """Items that fit the words, by cosine, mixed with the person's taste.

    Raises:
        Unavailable: the encoder cannot be loaded (yet).
        ConfigError: a target is unknown, or k or the history is too long.
    """
    asked = RecommendRequest.model_validate(request.model_dump(exclude={"text", "personal"}))
    answer = await live.recommend(asked, request_id, request)
    return {**answer, "understood": understood(request, answer)}


def understood(request: SearchRequest, answer: dict[str, Any]) -> str:
    """In words, what was searched for, where, and how much the person's taste counted."""
    words = request.text if len(request.text) <= 60 else f"{request.text[:59].rstrip()}…"
    parts = [f"“{words}” in {' and '.join(answer['target'])}"]
    known = any(route in ("warm", "cold_start") for route in answer["routes"].values())
    if any(note.startswith(UNREAD) for note in answer["notes"]):
        parts.append(f"not understood; {'by taste alone' if known else 'what is liked in general'}")
    elif known and request.personal > 0:
        parts.append(f"{request.personal:.0%} by taste")
    elif request.personal > 0:
        parts.append("by the words alone, as nothing is known of the person")
    parts += limits(request.filters)
    return "; ".join(parts)


def limits(filters: Filters) -> list[str]:
    """The filters in words."""
    found = []
    if filters.categories:
        found.append(f"only {', '.join(filters.categories)}")
    if filters.brands:
        found.append(f"by {', '.join(filters.brands)}")
    if filters.price_min is not None:
        found.append(f"from {filters.price_min:g}")
    if filters.price_max is not None:
        found.append(f"up to {filters.price_max:g}")
    return found
