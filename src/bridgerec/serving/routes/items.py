"""Items: looking them up, and adding new ones."""

import asyncio
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from bridgerec.errors import ConfigError
from bridgerec.serving import schemas
from bridgerec.serving.live import Live
from bridgerec.serving.problems import NotFound, answer, request_id
from bridgerec.serving.routes import MISSING, PROBLEMS
from bridgerec.serving.search import find, unknown
from bridgerec.serving.state import NewItem

Domain = Annotated[schemas.Name | None, Query()]


def router(live: Callable[[], Live]) -> APIRouter:
    """GET and POST /items, GET /items/{item_id}."""
    routes = APIRouter(tags=["items"], responses={**PROBLEMS, **MISSING})

    @routes.get("/items", response_model=schemas.ItemsResponse)
    async def items(
        request: Request,
        domain: Domain = None,
        query: Annotated[str, Query(max_length=500)] = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    ) -> Response:
        """Items by a part of their title."""
        found = live()
        recommender = found.recommender
        await found.look(recommender, None)
        shelf = recommender.shelf
        if domain is not None and domain not in shelf.index:
            raise NotFound(unknown(recommender, domain))
        # in a thread: what nothing fits is found after looking at all titles
        places = await asyncio.to_thread(shelf.titled, domain, query, limit)
        shown = shelf.show(places)
        return answer({"items": shown, "request_id": request_id(request)})

    @routes.get("/items/{item_id:path}", response_model=schemas.ItemAnswer)
    async def item(request: Request, item_id: schemas.Id, domain: Domain = None) -> Response:
        """One item."""
        found = live()
        recommender = found.recommender
        await found.look(recommender, None)
        shelf = recommender.shelf
        if domain is not None:
            places = [find(recommender, domain, item_id)]
        else:
            places = [own[item_id] for own in shelf.index.values() if item_id in own]
        if not places:
            raise NotFound(f"no domain has an item {item_id!r}")
        return answer({**shelf.show(places[:1])[0], "request_id": request_id(request)})

    @routes.post("/items", response_model=schemas.ItemResponse)
    async def add(request: Request, body: schemas.ItemRequest) -> Response:
        """Add an item, or give a known one new words; recommendable at once."""
        found = live()
        recommender, store = found.recommender, found.kept()
        if body.domain not in recommender.shelf.index:
            raise ConfigError(unknown(recommender, body.domain))
        bare = NewItem(
            domain=body.domain,
            item_id=body.item_id,
            title=body.title,
            description=body.description or "",
            category=body.category or "",
            brand=body.brand or "",
            price=body.price,
            image=body.image,
        )
        await store.add_item(await found.embedder_of(recommender).embedded(bare))
        await found.look(recommender, None)
        own = request_id(request)
        return answer({"domain": body.domain, "item_id": body.item_id, "request_id": own})

    return routes
