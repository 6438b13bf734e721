"""What the service accepts and answers; an unknown field is an error."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Route = Literal["warm", "cold_start", "unknown"]


class HistoryItem(BaseModel):
    """One thing a person liked, in any domain; `timestamp` in seconds, if it is known when."""

    model_config = ConfigDict(extra="forbid")

    domain: str = Field(max_length=200)
    item_id: str = Field(max_length=500)
    timestamp: int | None = Field(None, ge=0, lt=2**53)


class RecommendRequest(BaseModel):
    """A person (known by id, or by a history given here, oldest first, or both)."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"target": "films", "user_id": "u00042", "k": 5},
                {"target": "films", "history": [{"domain": "books", "item_id": "B00017"}]},
            ]
        },
    )

    target: str = Field(max_length=200, description="The domain to recommend from.")
    user_id: str | None = Field(None, max_length=500)
    user_domain: str | None = Field(
        None, max_length=200, description="Where `user_id` is an account, if people have several."
    )
    history: list[HistoryItem] = Field([], description="Oldest first; newer than what is stored.")
    k: int = Field(10, ge=1)
    exclude: list[str] = Field([], max_length=10_000, description="Item ids never to return.")
    exclude_seen: bool = True


class RecommendedItem(BaseModel):
    rank: int
    item_id: str
    title: str
    category: str
    score: float


class RecommendResponse(BaseModel):
    """`route` says what the answer rests on: `warm` (history in the target), `cold_start`
    (history in other domains only), `unknown` (no history); `candidate` names the model that
    answers there."""

    release: str
    request_id: str
    target: str
    route: Route
    candidate: str
    items: list[RecommendedItem]
    notes: list[str]
