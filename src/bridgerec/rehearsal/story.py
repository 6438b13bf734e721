"""What happened, as numbers and words: `story.json`, from which the page is made."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from bridgerec.rehearsal.faults import Fault, Victim
from bridgerec.rehearsal.plan import Plan
from bridgerec.rehearsal.quality import Mean
from bridgerec.runtime import write_json


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Act(Strict):
    """`began` and `seconds` are counted from the start of the rehearsal; `day` is the simulated day
    on which it played (None: none)."""

    name: str
    began: float
    seconds: float
    words: str
    day: int | None = None


class Watch(Strict):
    """One run of the monitoring flow, after `day`."""

    day: int
    drift: bool
    alarms: list[str]
    words: str


class Retraining(Strict):
    """`by_event`: how many runs the event started; `rows` and `items` were taken in before;
    `reasons` are the gate's and the verdict's."""

    by_event: int
    seconds: float
    rows: int
    items: int
    outcome: str
    reasons: list[str]


class Refusal(Strict):
    """The bad candidate, why the gate refused it, and that the live release stayed."""

    candidate: str
    refused: bool
    reasons: list[str]
    live_before: str
    live_after: str


class Kill(Strict):
    """A process that was killed with kill -9, `at` seconds after the start; `away` is how long it
    took until another one did its work (None: it did not come back).  `failed` counts the tries of
    requests that failed meanwhile."""

    victim: Victim
    process: str
    act: str
    at: float
    away: float | None = None
    failed: int = 0


class Story(Strict):
    """Everything; what has not happened yet is None.  `requests` are those of the days, `swap` and
    `refusal_load` those that went on in the background meanwhile.

    Of the events that the service said to have accepted, `lost` are not in its store at the end.
    `stray` tries failed while nothing was away that had been killed; `again` are runs that were
    started anew because of a kill.
    """

    plan: Plan
    acts: list[Act] = []
    releases: dict[str, str] = {}
    themes: list[str] = []
    new_items: int = 0
    watches: list[Watch] = []
    days: list[dict[str, Any]] = []
    retraining: Retraining | None = None
    swap: dict[str, Any] | None = None
    refusal: Refusal | None = None
    refusal_load: dict[str, Any] | None = None
    requests: dict[str, Any] | None = None
    gain: dict[str, Mean] = {}
    faults: tuple[Fault, ...] = ()
    kills: list[Kill] = []
    again: list[str] = []
    stray: int = 0
    accepted: int = 0
    lost: int = 0
    failed: str | None = None

    def write(self, folder: Path) -> None:
        """Write `story.json` and `story.html`."""
        from bridgerec.rehearsal.page import write_page

        write_json(folder / "story.json", self.model_dump(mode="json"))
        write_page(folder / "story.html", self)

    @property
    def failures(self) -> int:
        """Failed tries of requests of all kinds."""
        return self._sum("failures")

    @property
    def sent(self) -> int:
        """Tries of requests of all kinds."""
        return self._sum("requests")

    @property
    def given_up(self) -> int:
        """Requests whose last try failed too."""
        return self._sum("given_up")

    def _sum(self, name: str) -> int:
        parts = (self.requests, self.swap, self.refusal_load)
        return sum(int(part[name]) for part in parts if part)
