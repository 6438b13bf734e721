"""Recommendations: one, many, by likeness, by words."""

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from bridgerec.errors import BridgeRecError, ConfigError
from bridgerec.serving import search as finding
from bridgerec.serving.live import Live
from bridgerec.serving.problems import answer, described, request_id
from bridgerec.serving.routes import MISSING, PROBLEMS
from bridgerec.serving.routes.named import may_name
from bridgerec.serving.schemas import (
    BatchRequest,
    BatchResponse,
    RecommendRequest,
    RecommendResponse,
    SearchRequest,
    SearchResponse,
    SimilarRequest,
    SimilarResponse,
)


def router(live: Callable[[], Live]) -> APIRouter:
    """POST /recommend, /recommend_batch, /similar, /search."""
    routes = APIRouter(tags=["recommend"], responses=PROBLEMS)

    @routes.post("/recommend", response_model=RecommendResponse, responses=MISSING)
    async def recommend(request: Request, body: RecommendRequest) -> Response:
        """Items of one or several domains for a person or a history."""
        may_name(request, body.release)
        return answer(await live().recommend(body, request_id(request)))

    @routes.post("/recommend_batch", response_model=BatchResponse)
    async def recommend_batch(request: Request, body: BatchRequest) -> Response:
        """Several questions in one call; each is answered or refused on its own."""
        found = live()
        limit = found.recommender.service["max_batch"]
        if len(body.requests) > limit:
            raise ConfigError(f"{len(body.requests)} requests are more than the {limit} of a batch")
        own = request_id(request)
        asked = [_one(found, request, one, f"{own}-{n}") for n, one in enumerate(body.requests, 1)]
        return answer({"answers": await asyncio.gather(*asked), "request_id": own})

    @routes.post("/similar", response_model=SimilarResponse, responses=MISSING)
    async def similar(request: Request, body: SimilarRequest) -> Response:
        """The nearest items by vector, in any domain."""
        may_name(request, body.release)
        found = live()
        recommender = found.asked(body.release)
        await found.look(recommender, None)
        items = finding.similar(recommender, body)
        own = request_id(request)
        return answer({"release": recommender.release, "request_id": own, "items": items})

    @routes.post("/search", response_model=SearchResponse, responses=MISSING)
    async def search(request: Request, body: SearchRequest) -> Response:
        """Items that fit words, mixed with the person's taste."""
        may_name(request, body.release)
        return answer(await finding.search(live(), body, request_id(request)))

    return routes


async def _one(live: Live, request: Request, body: RecommendRequest, own: str) -> dict[str, Any]:
    try:
        may_name(request, body.release)
        return await live.recommend(body, own)
    except BridgeRecError as error:  # the others can be answered all the same
        _, name, remedy = described(error)
        return {"error": name, "message": str(error), "remedy": remedy, "request_id": own}
