"""People: what is known of them, and forgetting it."""

from bisect import bisect_left
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from bridgerec.serving import schemas
from bridgerec.serving.live import Live
from bridgerec.serving.problems import answer, request_id
from bridgerec.serving.ranker import Recommender
from bridgerec.serving.routes import PROBLEMS
from bridgerec.serving.state import Event

Domain = Annotated[schemas.Name | None, Query()]


def router(live: Callable[[], Live]) -> APIRouter:
    """GET /users, GET and DELETE /users/{user_id}."""
    routes = APIRouter(tags=["users"], responses=PROBLEMS)

    @routes.get("/users", response_model=schemas.UsersResponse)
    async def users(
        request: Request,
        query: Annotated[str, Query(max_length=500)] = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    ) -> Response:
        """Who is known, by the beginning of their ids."""
        found = live()
        store = found.kept()
        names = found.recommender.people.sorted_names
        packaged: list[str] = []
        start = bisect_left(names, query)
        while len(packaged) < limit and start < len(names) and names[start].startswith(query):
            page = [n for n in names[start : start + limit] if n.startswith(query)]
            gone = await store.forgotten(page)
            packaged += [name for name in page if name not in gone]
            start += limit
        both = {*packaged, *await store.people(query, limit)}
        return answer({"users": sorted(both)[:limit], "request_id": request_id(request)})

    @routes.get("/users/{user_id:path}", response_model=schemas.UserResponse)
    async def user(request: Request, user_id: schemas.Id, user_domain: Domain = None) -> Response:
        """What is known of a person."""
        found = live()
        recommender, store = found.recommender, found.kept()
        people = recommender.people
        person = people.person(user_domain, user_id)
        view = await found.look(recommender, person)
        row = None if view.forgotten else people.row(user_domain, user_id)
        timed = people.clock is not None
        stored = zip(*people.packaged(row), strict=True)
        events = [_event(recommender, *met, timed) for met in stored]
        events += [_live(recommender, event) for event in view.events]
        if timed:
            events.sort(key=lambda event: event["timestamp"])  # equal times stay in order
        limit = recommender.service["max_history"]
        return answer(
            {
                "user_id": user_id,
                "known": row is not None or bool(view.events),
                "events": events[-limit:],
                "stored": await store.count(person),
                "request_id": request_id(request),
            }
        )

    @routes.delete("/users/{user_id:path}", response_model=schemas.Forgotten)
    async def forget(request: Request, user_id: schemas.Id, user_domain: Domain = None) -> Response:
        """Forget a person: live events, and the release's own history."""
        found = live()
        person = found.recommender.people.person(user_domain, user_id)
        await found.kept().forget(person)
        own = request_id(request)
        return answer({"user_id": user_id, "forgotten": True, "request_id": own})

    return routes


def _event(
    recommender: Recommender, item: int, time: int, kind: int, timed: bool
) -> dict[str, Any]:
    shelf = recommender.shelf
    return {
        "domain": shelf.domains[item],
        **{name: shelf.columns[name][item] for name in ("item_id", "title")},
        "timestamp": time if timed else None,
        "kind": None if kind < 0 else [*recommender.people.kinds][kind],
        "source": "release",
    }


def _live(recommender: Recommender, event: Event) -> dict[str, Any]:
    item = recommender.shelf.index.get(event.domain, {}).get(event.item_id)
    return {
        "domain": event.domain,
        "item_id": event.item_id,
        "title": None if item is None else recommender.shelf.columns["title"][item],
        "timestamp": event.timestamp,
        "kind": event.kind,
        "source": "live",
    }
