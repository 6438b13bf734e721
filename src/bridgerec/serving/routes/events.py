"""What people did: events that the next answer knows of, and feedback on answers."""

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request
from pydantic import Discriminator, Tag
from starlette.responses import Response

from bridgerec.errors import ConfigError
from bridgerec.serving import schemas
from bridgerec.serving.live import Live
from bridgerec.serving.problems import answer, request_id
from bridgerec.serving.ranker import Recommender
from bridgerec.serving.routes import PROBLEMS
from bridgerec.serving.state import Event, Reaction

AHEAD = 86_400  # seconds that a sender's clock may be ahead


def _shape(body: Any) -> str:
    many = "events" in body if isinstance(body, dict) else isinstance(body, schemas.Events)
    return "events" if many else "event"


EventsBody = Annotated[
    Annotated[schemas.Event, Tag("event")] | Annotated[schemas.Events, Tag("events")],
    Discriminator(_shape),
]


def router(live: Callable[[], Live]) -> APIRouter:
    """POST /events, /feedback."""
    routes = APIRouter(tags=["events"], responses=PROBLEMS)

    @routes.post("/events", response_model=schemas.EventsResponse)
    async def events(request: Request, body: EventsBody) -> Response:
        """What people did: durable when answered, known to the next answer of every worker."""
        return answer(await taken(live(), body, request_id(request)))

    @routes.post("/feedback", response_model=schemas.FeedbackResponse)
    async def feedback(request: Request, body: schemas.Feedback) -> Response:
        """What of an answer was shown and clicked."""
        found = live()
        about = body.request_id
        reactions = [
            *(Reaction(about, "shown", s.domain, s.item_id, s.position) for s in body.shown),
            *(
                Reaction(about, "clicked", c.domain, c.item_id, timestamp=c.timestamp)
                for c in body.clicked
            ),
        ]
        new = await found.kept().feedback(reactions)
        if found.log is not None:
            found.log.react(new)
        return answer({"accepted": len(new), "request_id": request_id(request)})

    return routes


async def taken(
    live: Live, body: schemas.Event | schemas.Events, request_id: str
) -> dict[str, Any]:
    """Keep events, durably, and tell what became of them.

    Raises:
        ConfigError: a time lies in the future.
    """
    recommender = live.recommender
    sent = body.events if isinstance(body, schemas.Events) else [body]
    kept = stamped(recommender, sent, int(time.time()))
    accepted = await live.kept().add(kept)
    unknown = unknown_items(recommender, kept)
    if unknown:  # another worker may have taken the item in
        await live.look(recommender, None)
        unknown = unknown_items(recommender, kept)
    return {
        "accepted": accepted,
        "duplicates": len(kept) - accepted,
        "unknown_items": unknown,
        "request_id": request_id,
    }


def stamped(recommender: Recommender, sent: Sequence[schemas.Event], now: int) -> list[Event]:
    """Events with the person they belong to, a time and an id.

    Raises:
        ConfigError: a time lies in the future.
    """
    late = next((e for e in sent if (e.timestamp or 0) > now + AHEAD), None)
    if late is not None:
        raise ConfigError(
            f"timestamp {late.timestamp} of item {late.item_id!r} lies in the future; send seconds "
            "since 1970, not milliseconds"
        )
    found = []
    for e in sent:
        time_ = now if e.timestamp is None else e.timestamp
        person = recommender.people.person(e.user_domain, e.user_id)
        own = e.event_id or _digest(person, e.domain, e.item_id, time_, e.kind, e.value)
        found.append(Event(own, person, e.domain, e.item_id, time_, e.kind, e.value))
    return found


def unknown_items(recommender: Recommender, events: Sequence[Event]) -> int:
    """How many of the events are about items that nobody knows."""
    index = recommender.shelf.index
    return sum(e.item_id not in index.get(e.domain, {}) for e in events)


def _digest(*parts: str | int | float | None) -> str:
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()[:32]
