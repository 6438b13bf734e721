"""What is gathered for the story while the acts are played."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bridgerec.config import Workspace
from bridgerec.rehearsal.faults import Fault
from bridgerec.rehearsal.killer import Killer
from bridgerec.rehearsal.losses import blame, lost
from bridgerec.rehearsal.orders import LONG, Orders
from bridgerec.rehearsal.plan import Plan
from bridgerec.rehearsal.quality import Seen, gain, per_day
from bridgerec.rehearsal.story import Act, Story, Watch
from bridgerec.rehearsal.tally import Tally
from bridgerec.rehearsal.traffic import Load, Street
from bridgerec.runtime import read_json

Say = Callable[[str], None]
Tell = Callable[[Act], None]
RATE = 6.0  # questions a second in the background


class Telling:
    """`say` hears what goes on, line by line, `tell` of every act that is over."""

    def __init__(
        self, living: Workspace, plan: Plan, say: Say, tell: Tell, faults: tuple[Fault, ...]
    ) -> None:
        self.living, self.plan, self.say, self.tell = living, plan, say, tell
        self.story, self.began = Story(plan=plan, faults=faults), time.monotonic()
        self.seen: list[Seen] = []
        self.tallies: list[Tally] = []
        self.killer = Killer(living, faults, self.began, say)

    @contextmanager
    def act(self, name: str, day: int | None = None) -> Iterator[list[str]]:
        """An act of the story; its words go into the list that this gives."""
        began, told = time.monotonic(), list[str]()
        self.say(name)
        with self.killer.during(name):
            yield told
        now = time.monotonic()
        act = Act(name=name, began=round(began - self.began, 1), seconds=round(now - began, 1),
                  words="; ".join(told), day=day)  # fmt: skip
        self.story.acts.append(act)
        self.tell(act)

    def days(self, street: Street, start: int, stop: int) -> str:
        """People visit on the days `start` to `stop` - 1; how many, and their clicks, in words."""
        visits = clicks = 0
        whole = (stop - start) * self.plan.visits

        def visited() -> None:
            self.killer.share += 1 / whole

        for day in range(start, stop):
            seen = street.day(day, self.plan.visits, visited)
            self.seen += seen
            visits, clicks = visits + len(seen), clicks + sum(s.clicks for s in seen)
            self.say(f"day {day + 1}: {len(seen)} visits, {sum(s.clicks for s in seen)} clicks")
        return f"{visits} visits, {clicks} clicks"

    def watch(self, orders: Orders, day: int) -> Watch:
        """Run the monitoring flow after `day`."""
        orders.wait(orders.start("monitoring"), LONG, self.say)
        folder = self.living.reports / "monitoring"
        found = read_json(folder / "summary.json")
        text = (folder / "summary.md").read_text(encoding="utf-8")
        words = text.split("\n\n")[0].lstrip("# ")
        watch = Watch(day=day, drift=found["drift"], alarms=found["alarms"], words=words)
        self.story.watches.append(watch)
        return watch

    def load(self, street: Street) -> Load:
        """People who go on asking in the background."""
        people = street.society.truth.people
        found = Load(street, people, RATE, lambda release: self.say(f"{release} answers"))
        self.tallies.append(found.tally)
        return found

    def compare(self) -> str:
        """The maintained against the frozen model on the days after the change, in words."""
        later = [s for s in self.seen if s.day >= self.plan.swap_day]
        self.story.gain = {n: gain(later, n, self.plan.seed) for n in ("ndcg", "clicks")}
        found = self.story.gain["ndcg"]
        return (f"NDCG {found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}] against the frozen "
                f"model, {found.people} people")  # fmt: skip

    def count(self, street: Street) -> None:
        """Requests, accepted events, and those that are lost; while the store can be read."""
        self.story.requests = street.tally.summary()
        self.story.accepted = len(street.accepted)
        self.story.lost = len(lost(street.accepted, self.living))

    def write(self, folder: Path) -> None:
        """The story up to here."""
        if self.seen:
            self.story.days = per_day(self.seen, self.plan.seed)
        self.story.kills, self.story.stray = blame(self.killer.kills, self.tallies, self.began)
        self.story.write(folder)
