"""The acts, in order, with everything that runs meanwhile."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError
from bridgerec.operations.control import down, up
from bridgerec.operations.keep import kept
from bridgerec.registry.current import read_current
from bridgerec.registry.store import Store
from bridgerec.rehearsal import candidate, world
from bridgerec.rehearsal.faults import Fault
from bridgerec.rehearsal.frozen import frozen, stop_frozen
from bridgerec.rehearsal.killer import Killer
from bridgerec.rehearsal.losses import blame, lost
from bridgerec.rehearsal.orders import Orders, Run
from bridgerec.rehearsal.plan import Plan
from bridgerec.rehearsal.quality import Seen, gain, per_day
from bridgerec.rehearsal.shift import Truth, shift
from bridgerec.rehearsal.story import Act, Refusal, Retraining, Story, Watch
from bridgerec.rehearsal.tally import Tally
from bridgerec.rehearsal.traffic import Load, Street, warm_up
from bridgerec.rehearsal.visit import Society, met_before
from bridgerec.runtime import read_json

Say = Callable[[str], None]
Tell = Callable[[Act], None]
PATIENCE = 300.0  # seconds for which people try again, where something is killed
FREE = dict.fromkeys(("prefect", "service", "evidently"), 0)
RATE = 6.0  # questions a second in the background
AFTER = 60  # answers of the new release before the background load may stop
LONG = 3600.0  # seconds that a flow may take on a machine that is busy


class Rehearsal:
    """`say` hears what goes on, line by line, `tell` of every act that is over."""

    def __init__(
        self, folder: Path, plan: Plan, say: Say, tell: Tell, faults: tuple[Fault, ...] = ()
    ) -> None:
        self.folder, self.plan, self.say, self.tell = folder, plan, say, tell
        self.story, self.began = Story(plan=plan, faults=faults), time.monotonic()
        self.seen: list[Seen] = []
        self.tallies: list[Tally] = []
        self.killer = Killer(Workspace(folder / world.LIVING), faults, self.began, say)

    def play(self) -> Story:
        """All acts; whatever was started is stopped at the end, also when it ends early.

        Raises:
            ConfigError: the folder holds something else.
            BridgeRecError: an act failed; the story up to there is written.
        """
        with world.claimed(self.folder, self.plan):
            living = Workspace(self.folder / world.LIVING)
            if living.root.is_dir():
                down(living, self.say)  # what an earlier rehearsal left running
            stop_frozen(self.folder)
            try:
                with ExitStack() as stage:
                    self._play(living, stage)
            except BaseException as error:
                self.story.failed = f"{type(error).__name__}: {error}".removesuffix(": ")
                raise
            finally:
                self._measure()
                self.story.write(self.folder)
        return self.story

    def _play(self, living: Workspace, stage: ExitStack) -> None:
        with self._act("A first year") as told:
            first = world.make_first(self.folder, self.plan, self.say)
            world.branch(first.root, living.root)
            told.append(f"{read_json(living.reports / 'decision.json')['winner']} wins")
        with self._act("Everything starts") as told:
            stage.callback(down, living, self.say)
            orders = Orders(up(living, FREE, self.say).parts["prefect"].url)
            told.append("Prefect server, worker and deployments; Evidently")
        with self._act("The first release") as told:
            orders.wait(orders.start("release"), LONG, self.say)
            before = read_current(Store.of(living)).release or ""
            self.story.releases["first"] = before
            told.append(f"{before} is live")
        with self._act("The service starts") as told:
            state = up(living, FREE, self.say)
            first_release = Store.of(living).find(before)
            beside = stage.enter_context(frozen(self.folder, living, first_release))
            warm_up(state.parts["service"].url, self.plan.target)
            told.append("and beside it the first release once more, which stays as it is: the "
                        "frozen model")  # fmt: skip
        truth = Truth.read(living.root)
        society = Society(truth, self.plan.seed, met_before(_tables(living), truth))
        street = Street(state.parts["service"].url, beside, society, self.plan.target,
                        PATIENCE if self.story.faults else 0)  # fmt: skip
        self.tallies.append(street.tally)
        stage.callback(self._count, street, living)
        if self.story.faults:
            stage.enter_context(kept(living, self.say))
        self._calm(street, orders, living)
        self._shift(street, truth)
        self._drift(street, orders, living)
        self._retrain(street, orders, living)
        self._later(street)
        self._refuse(street, orders, living)

    def _calm(self, street: Street, orders: Orders, living: Workspace) -> None:
        with self._act("Calm days", day=0) as told:
            told.append(self._days(street, 0, self.plan.shift_day))
        with self._act("Monitoring looks", day=self.plan.shift_day - 1) as told:
            told.append(self._watch(orders, living, self.plan.shift_day - 1).words)

    def _shift(self, street: Street, truth: Truth) -> None:
        plan = self.plan
        with self._act("Tastes and catalogue shift", day=plan.shift_day) as told:
            moved = shift(truth, plan.new_items, plan.turn, plan.seed)
            self.story.themes = list(moved.themes)
            self.story.new_items = street.add_items(moved.new)
            street.society.turn(moved.truth)
            told.append(
                f"{self.story.new_items} new items through POST /items; tastes turn by "
                f"{plan.turn:.0%} towards {', '.join(moved.themes)}; popularity is dealt anew"
            )
        with self._act("Days with the old model", day=plan.shift_day) as told:
            told.append(self._days(street, plan.shift_day, plan.swap_day))

    def _drift(self, street: Street, orders: Orders, living: Workspace) -> None:
        with self._act("Monitoring finds drift", day=self.plan.swap_day - 1) as told:
            watch = self._watch(orders, living, self.plan.swap_day - 1)
            if not watch.drift:
                raise BridgeRecError(f"monitoring found no drift after the shift: {watch.words}")
            told.append(f"{', '.join(watch.alarms)}: {watch.words}")

    def _retrain(self, street: Street, orders: Orders, living: Workspace) -> None:
        """The event starts the retraining; people go on asking until the new model answers."""
        store, load = Store.of(living), self._load(street)
        with self._act("The event starts a retraining", day=self.plan.swap_day - 1) as told, load:
            run = self._through(orders, orders.started_by_event("retraining", 120), {})
            live = read_current(store).release or ""
            self.story.releases["live"] = live
            if live != self.story.releases["first"]:
                self._until(lambda: load.answered_by(live) >= AFTER)
            self.story.retraining = found = self._retrained(orders, run, living)
            told.append(f"{found.rows:,} events and {found.items} items taken in; {found.outcome}")
        self.story.swap = load.tally.summary()

    def _through(self, orders: Orders, run: Run, asked: dict[str, Any]) -> Run:
        """Wait for a run of the retraining; one that a kill ended is started again."""
        while True:
            since = time.monotonic()
            try:
                return orders.wait(run, LONG, self.say)
            except BridgeRecError as error:
                if not self.killer.hit_a_run(since):
                    raise
                self.story.again.append(f"{run.name}: {str(error).splitlines()[0]}")
            run = orders.start("retraining", asked | {"reason": f"{run.name} was killed"})

    def _retrained(self, orders: Orders, run: Run, living: Workspace) -> Retraining:
        by_event = [r for r in orders.runs("retraining") if r.started_by == "AUTOMATION"]
        decision = read_json(living.reports / "decision.json")
        taken = read_json(living.reports / "intake" / "history.json")
        first, live = self.story.releases["first"], self.story.releases["live"]
        kept = [r.read("verdict")["reasons"] for r in Store.of(living).all() if r.id != first]
        said = [line for line in orders.log(run) if "kept the champion" in line]
        return Retraining(
            by_event=len(by_event),
            seconds=run.seconds,
            rows=sum(sum(one["rows"].values()) for one in taken),
            items=sum(sum(one["items"].values()) for one in taken),
            outcome=f"{live} is live in place of {first}" if live != first else said[-1],
            reasons=[*decision["reasons"], *(kept[-1] if kept else [])],
        )

    def _later(self, street: Street) -> None:
        with self._act("Days with the maintained model", day=self.plan.swap_day) as told:
            told.append(self._days(street, self.plan.swap_day, self.plan.days))
            later = [s for s in self.seen if s.day >= self.plan.swap_day]
            self.story.gain = {n: gain(later, n, self.plan.seed) for n in ("ndcg", "clicks")}
            found = self.story.gain["ndcg"]
            told.append(f"NDCG {found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}] against "
                        f"the frozen model, {found.people} people")  # fmt: skip

    def _refuse(self, street: Street, orders: Orders, living: Workspace) -> None:
        """Somebody checks in a candidate that learned from shuffled labels."""
        store, load = Store.of(living), self._load(street)
        before = read_current(store).release or ""
        with self._act("A bad candidate", day=self.plan.days - 1) as told, load:
            with candidate.misled(living):
                asked = {"intake": False, "reason": "rehearsal"}
                self._through(orders, orders.start("retraining", asked), asked)
                decision = read_json(living.reports / "decision.json")
            after = read_current(store).release or ""
            self.story.refusal = Refusal(
                candidate=candidate.NAME,
                refused=not decision["released"] and before == after,
                reasons=decision["reasons"],
                live_before=before,
                live_after=after,
            )
            told.append("; ".join(decision["reasons"]))
        self.story.refusal_load = load.tally.summary()

    def _days(self, street: Street, start: int, stop: int) -> str:
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

    def _watch(self, orders: Orders, living: Workspace, day: int) -> Watch:
        orders.wait(orders.start("monitoring"), LONG, self.say)
        found = read_json(living.reports / "monitoring" / "summary.json")
        text = (living.reports / "monitoring" / "summary.md").read_text(encoding="utf-8")
        words = text.split("\n\n")[0].lstrip("# ")
        watch = Watch(day=day, drift=found["drift"], alarms=found["alarms"], words=words)
        self.story.watches.append(watch)
        return watch

    def _load(self, street: Street) -> Load:
        people = street.society.truth.people
        found = Load(street, people, RATE, lambda release: self.say(f"{release} answers"))
        self.tallies.append(found.tally)
        return found

    def _until(self, true: Callable[[], bool], seconds: float = 120) -> None:
        limit = time.monotonic() + seconds
        while not true() and time.monotonic() < limit:
            time.sleep(0.2)

    def _count(self, street: Street, living: Workspace) -> None:
        self.story.requests = street.tally.summary()
        self.story.accepted = len(street.accepted)
        self.story.lost = len(lost(street.accepted, living))

    def _measure(self) -> None:
        if self.seen:
            self.story.days = per_day(self.seen, self.plan.seed)
        self.story.kills, self.story.stray = blame(self.killer.kills, self.tallies, self.began)

    @contextmanager
    def _act(self, name: str, day: int | None = None) -> Iterator[list[str]]:
        began, told = time.monotonic(), list[str]()
        self.say(name)
        with self.killer.during(name):
            yield told
        now = time.monotonic()
        act = Act(name=name, began=round(began - self.began, 1), seconds=round(now - began, 1),
                  words="; ".join(told), day=day)  # fmt: skip
        self.story.acts.append(act)
        self.tell(act)


def _tables(living: Workspace) -> dict[str, pl.DataFrame]:
    """The interactions of every domain."""
    from bridgerec.data.readers import collect, read_interactions

    found: dict[str, Any] = {}
    for name, domain in living.params.data.domains.items():
        rows = read_interactions(living, name, domain, ("user_id", "item_id"))
        found[name] = collect(rows, living.table(domain.interactions))
    return found
