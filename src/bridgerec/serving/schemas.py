"""What the service accepts and answers; an unknown field is an error.

Ids are any text of at most 500 characters that can be written as UTF-8; times are seconds.
"""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
    with_config,
)
from typing_extensions import TypedDict  # pydantic refuses that of Python 3.11

Route = Literal["warm", "cold_start", "unknown", "fallback"]
LONGEST_TEXT = 4000  # characters of a description, a wish or a search; the encoder reads less


def _integral(value: Any) -> Any:
    """5.0 is an integer, as JSON Schema has it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _words(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank")
    return text


# a lone surrogate is legal in JSON, but can neither be stored nor answered: a limit of length makes
# pydantic look at the characters, and refuse it in the language it is fast in
Name = Annotated[str, Field(min_length=1, max_length=200)]  # a domain, a kind, a brand
Id = Annotated[str, Field(min_length=1, max_length=500)]
Loose = Annotated[str, Field(max_length=LONGEST_TEXT)]
Free = Annotated[Loose, AfterValidator(_words)]
INTEGRAL = BeforeValidator(_integral)
Whole = Annotated[int, INTEGRAL]
Moment = Annotated[int, Field(ge=0, lt=2**53), INTEGRAL]
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Targets = Name | Annotated[list[Name], Field(min_length=1, max_length=50)]
Named = Annotated[
    Id | None,
    Field(
        description="Just this release is asked, by its id: the live one, or one on trial. Needs "
        "an admin key; counted in no trial and in no traffic log. Left out: whoever is to answer.",
        examples=["8071f917bb41"],
    ),
]


def targets_of(target: str | list[str]) -> list[str]:
    """The domains of a request, each once, in its order."""
    return [target] if isinstance(target, str) else list(dict.fromkeys(target))


STRICT = ConfigDict(extra="forbid", strict=True)  # nothing is converted: "5" is no number


class Strict(BaseModel):
    model_config = STRICT


def _examples(*examples: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": list(examples)})


@with_config(STRICT)
class HistoryItem(TypedDict):
    """One thing a person met, in any domain; `timestamp` in seconds, if it is known when, and
    `kind` of event (view, purchase, …), if it is known what happened."""

    # plain dicts: a request holds many, and waits with them until its batch is asked

    domain: Name
    item_id: Id
    timestamp: NotRequired[Moment | None]
    kind: NotRequired[Name | None]


class Filters(Strict):
    """Only items that fit all that is given; an item without a price fits no price."""

    model_config = ConfigDict(frozen=True)

    # frozen through and through: requests without filters share one
    categories: tuple[Name, ...] = Field(
        (), max_length=200, strict=False, description="Beginnings of category paths."
    )
    brands: tuple[Name, ...] = Field((), max_length=200, strict=False)
    price_min: Price | None = None
    price_max: Price | None = None

    @property
    def given(self) -> bool:
        """Whether anything is filtered."""
        prices = self.price_min is not None or self.price_max is not None
        return prices or bool(self.categories or self.brands)

    @model_validator(mode="after")
    def _range(self) -> "Filters":
        low, high = self.price_min, self.price_max
        if low is not None and high is not None and low > high:
            raise ValueError(f"price_min {low:g} is above price_max {high:g}")
        return self


UNFILTERED = Filters()


class Person(Strict):
    """Who asks: known by id, or by a history given here, oldest first, or both."""

    user_id: Id | None = None
    user_domain: Name | None = Field(
        None, description="Where `user_id` is an account, if people have several."
    )
    history: list[HistoryItem] = Field(
        default_factory=list, description="Oldest first; newer than what is stored."
    )


class RecommendRequest(Person):
    """What to recommend, to whom."""

    model_config = _examples(
        {"target": "films", "user_id": "u00042", "k": 5},
        {"target": "films", "history": [{"domain": "books", "item_id": "B00017"}]},
        {
            "target": ["films", "kitchenware"],
            "user_id": "u00042",
            "filters": {"price_max": 30},
            "wish": "something for a rainy evening",
            "diversity": 0.3,
            "explain": True,
        },
    )

    target: Targets = Field(description="The domain or domains to recommend from.")
    k: Whole = Field(10, ge=1, lt=2**31)
    exclude_seen: bool = True
    exclude: list[Id] = Field(
        default_factory=list, max_length=10_000, description="Item ids never to return."
    )
    allow: list[Id] = Field(
        default_factory=list, max_length=10_000, description="Only these; empty: all."
    )
    filters: Filters = UNFILTERED
    diversity: float = Field(0, ge=0, le=1, description="0: the model's own order.")
    explain: bool = False
    wish: Free | None = Field(None, description="The person's own words, mixed in.")
    kind: Name | None = Field(
        None, description="What is to happen next, such as purchase; left out: anything."
    )
    release: Named = None


class BatchRequest(Strict):
    model_config = _examples({"requests": [{"target": "films", "user_id": "u00042", "k": 5}]})

    requests: list[RecommendRequest] = Field(min_length=1)


class SimilarRequest(Strict):
    model_config = _examples({"domain": "books", "item_id": "B00017", "target": "films", "k": 5})

    domain: Name
    item_id: Id
    target: Targets | None = Field(None, description="Where to look; left out: `domain`.")
    k: Whole = Field(10, ge=1, lt=2**31)
    release: Named = None


class SearchRequest(Person):
    model_config = _examples(
        {"text": "a quiet story about the sea", "target": "films", "user_id": "u00042"}
    )

    text: Free
    target: Targets
    k: Whole = Field(10, ge=1, lt=2**31)
    personal: float = Field(0.3, ge=0, le=1, description="The share of the person's taste.")
    filters: Filters = UNFILTERED
    release: Named = None


class Explanation(BaseModel):
    """Why an item: what in the history speaks for it, what it shares, which rules moved it, and how
    much of its score is the wish."""

    because: list[dict[str, Any]] = []
    shared: list[str] = []
    moved: list[dict[str, Any]] = []
    wish: float | None = Field(None, description="What the words add; without words null.")


class Item(BaseModel):
    domain: str
    item_id: str
    title: str
    category: str
    brand: str
    price: float | None
    image: str | None


class RecommendedItem(Item):
    rank: int
    score: float
    explanation: Explanation | None = None
    propensity: float | None = Field(
        None, description="With `service.exploration`: how likely the item was to stand here."
    )


class RecommendResponse(BaseModel):
    """`route` says what the answer rests on: `warm` (history in the target), `cold_start`
    (history in other domains only), `unknown` (no history), `fallback` (the model failed or took
    too long, and the baseline answered); `candidate` names the model.  Of several targets `route`
    is the first one's and `score` counts standard deviations within the domain."""

    release: str
    request_id: str
    target: list[str]
    route: Route
    routes: dict[str, Route]
    candidate: str
    items: list[RecommendedItem]
    notes: list[str]


class SearchResponse(RecommendResponse):
    understood: str


class BatchResponse(BaseModel):
    """One answer per request, in order; a request that cannot be answered has an error there."""

    answers: list[RecommendResponse | dict[str, Any]]
    request_id: str


class SimilarResponse(BaseModel):
    release: str
    request_id: str
    items: list[RecommendedItem]


class Event(Strict):
    """Something a person did.  `event_id` makes sending it again harmless; left out, a hash of the
    other fields takes its place; without a `timestamp`, too, a repeat in another second is new."""

    model_config = _examples(
        {
            "event_id": "order-1",
            "user_id": "u00042",
            "domain": "films",
            "item_id": "F00007",
            "kind": "purchase",
        }
    )

    event_id: Id | None = None
    user_id: Id
    user_domain: Name | None = None
    domain: Name
    item_id: Id
    timestamp: Moment | None = Field(None, description="Seconds; left out: now.")
    kind: Name = "view"
    value: float | None = Field(None, allow_inf_nan=False)


class Events(Strict):
    model_config = _examples(
        {"events": [{"user_id": "u00042", "domain": "films", "item_id": "F00007", "kind": "like"}]}
    )

    events: list[Event] = Field(min_length=1, max_length=10_000)


class EventsResponse(BaseModel):
    """`unknown_items` counts events whose item is in no catalogue yet; they are kept."""

    accepted: int
    duplicates: int
    unknown_items: int
    request_id: str


class ShownItem(Strict):
    domain: Name
    item_id: Id
    position: Whole = Field(ge=1, lt=2**31)


class ClickedItem(Strict):
    domain: Name
    item_id: Id
    timestamp: Moment | None = None


class Feedback(Strict):
    """What became of an answer, by the `request_id` it came with."""

    model_config = _examples(
        {"request_id": "8c1f", "clicked": [{"domain": "films", "item_id": "F00007"}]}
    )

    request_id: Id
    shown: list[ShownItem] = Field(default_factory=list, max_length=1000)
    clicked: list[ClickedItem] = Field(default_factory=list, max_length=1000)

    @model_validator(mode="after")
    def _something(self) -> "Feedback":
        if not self.shown and not self.clicked:
            raise ValueError("shown and clicked are both empty")
        return self


class FeedbackResponse(BaseModel):
    accepted: int
    request_id: str


class ItemRequest(Strict):
    """A new item, or a known one with new words."""

    model_config = _examples(
        {
            "domain": "films",
            "item_id": "F90001",
            "title": "The Lighthouse Keeper",
            "category": "Drama",
            "price": 9.99,
        }
    )

    domain: Name
    item_id: Id
    title: Free
    description: Loose | None = None
    category: Name | None = None
    brand: Name | None = None
    price: Price | None = None
    image: Id | None = None


class ItemResponse(BaseModel):
    domain: str
    item_id: str
    request_id: str


class ItemAnswer(Item):
    request_id: str


class ItemsResponse(BaseModel):
    items: list[Item]
    request_id: str


class UserEvent(BaseModel):
    """`source`: `release` (packaged with the model) or `live` (accepted since)."""

    domain: str
    item_id: str
    title: str | None
    timestamp: int | None
    kind: str | None
    source: Literal["release", "live"]


class UserResponse(BaseModel):
    """`stored` counts live events; `events` holds the newest, oldest first."""

    user_id: str
    known: bool
    events: list[UserEvent]
    stored: int
    request_id: str


class Forgotten(BaseModel):
    user_id: str
    forgotten: Literal[True] = True
    request_id: str


class UsersResponse(BaseModel):
    users: list[str]
    request_id: str


class Problem(BaseModel):
    """Every error."""

    error: str
    message: str
    remedy: str
    request_id: str
