"""The acts, in order, with everything that runs meanwhile."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError
from bridgerec.operations.control import down, up
from bridgerec.operations.keep import kept
from bridgerec.registry.current import read_current
from bridgerec.registry.store import Store
from bridgerec.rehearsal import candidate, world
from bridgerec.rehearsal.faults import Fault
from bridgerec.rehearsal.frozen import frozen, stop_frozen
from bridgerec.rehearsal.orders import LONG, Orders, Run
from bridgerec.rehearsal.plan import Plan
from bridgerec.rehearsal.shift import Truth, shift
from bridgerec.rehearsal.story import Refusal, Retraining, Story
from bridgerec.rehearsal.telling import Say, Tell, Telling
from bridgerec.rehearsal.traffic import Street, warm_up
from bridgerec.rehearsal.visit import Society, met_before
from bridgerec.runtime import read_json

PATIENCE = 300.0  # seconds for which people try again, where something is killed
FREE = dict.fromkeys(("prefect", "service", "evidently"), 0)
AFTER = 60  # answers of the new release before the background load may stop


class Rehearsal:
    """`say` hears what goes on, line by line, `tell` of every act that is over."""

    def __init__(
        self, folder: Path, plan: Plan, say: Say, tell: Tell, faults: tuple[Fault, ...] = ()
    ) -> None:
        self.folder, self.plan, self.say = folder, plan, say
        self.living = Workspace(folder / world.LIVING)
        self.telling = Telling(self.living, plan, say, tell, faults)
        self.story, self.act = self.telling.story, self.telling.act

    def play(self) -> Story:
        """All acts; whatever was started is stopped at the end, also when it ends early.

        Raises:
            ConfigError: the folder holds something else.
            BridgeRecError: an act failed; the story up to there is written.
        """
        with world.claimed(self.folder, self.plan):
            if self.living.root.is_dir():
                down(self.living, self.say)  # what an earlier rehearsal left running
            stop_frozen(self.folder)
            try:
                with ExitStack() as stage:
                    self._play(stage)
            except BaseException as error:
                self.story.failed = f"{type(error).__name__}: {error}".removesuffix(": ")
                raise
            finally:
                self.telling.write(self.folder)
        return self.story

    def _play(self, stage: ExitStack) -> None:
        living, plan = self.living, self.plan
        with self.act("A first year") as told:
            first = world.make_first(self.folder, plan, self.say)
            world.branch(first.root, living.root)
            told.append(f"{read_json(living.reports / 'decision.json')['winner']} wins")
        with self.act("Everything starts") as told:
            stage.callback(down, living, self.say)
            orders = Orders(up(living, FREE, self.say).parts["prefect"].url)
            told.append("Prefect server, worker and deployments; Evidently")
        with self.act("The first release") as told:
            orders.wait(orders.start("release"), LONG, self.say)
            before = read_current(Store.of(living)).release or ""
            self.story.releases["first"] = before
            told.append(f"{before} is live")
        with self.act("The service starts") as told:
            state = up(living, FREE, self.say)
            first_release = Store.of(living).find(before)
            beside = stage.enter_context(frozen(self.folder, living, first_release))
            warm_up(state.parts["service"].url, plan.target)
            told.append("and beside it the first release once more, which stays as it is: the "
                        "frozen model")  # fmt: skip
        truth = Truth.read(living.root)
        society = Society(truth, plan.seed, met_before(world.tables(living), truth))
        street = Street(state.parts["service"].url, beside, society, plan.target,
                        PATIENCE if self.story.faults else 0)  # fmt: skip
        self.telling.tallies.append(street.tally)
        stage.callback(self.telling.count, street)
        if self.story.faults:
            stage.enter_context(kept(living, self.say))
        self._calm(street, orders)
        self._shift(street, truth)
        self._drift(orders)
        self._retrain(street, orders)
        self._later(street)
        self._refuse(street, orders)

    def _calm(self, street: Street, orders: Orders) -> None:
        with self.act("Calm days", day=0) as told:
            told.append(self.telling.days(street, 0, self.plan.shift_day))
        with self.act("Monitoring looks", day=self.plan.shift_day - 1) as told:
            told.append(self.telling.watch(orders, self.plan.shift_day - 1).words)

    def _shift(self, street: Street, truth: Truth) -> None:
        plan = self.plan
        with self.act("Tastes and catalogue shift", day=plan.shift_day) as told:
            moved = shift(truth, plan.new_items, plan.turn, plan.seed)
            self.story.themes = list(moved.themes)
            self.story.new_items = street.add_items(moved.new)
            street.society.turn(moved.truth)
            told.append(
                f"{self.story.new_items} new items through POST /items; tastes turn by "
                f"{plan.turn:.0%} towards {', '.join(moved.themes)}; popularity is dealt anew"
            )
        with self.act("Days with the old model", day=plan.shift_day) as told:
            told.append(self.telling.days(street, plan.shift_day, plan.swap_day))

    def _drift(self, orders: Orders) -> None:
        with self.act("Monitoring finds drift", day=self.plan.swap_day - 1) as told:
            watch = self.telling.watch(orders, self.plan.swap_day - 1)
            if not watch.drift:
                raise BridgeRecError(f"monitoring found no drift after the shift: {watch.words}")
            told.append(f"{', '.join(watch.alarms)}: {watch.words}")

    def _retrain(self, street: Street, orders: Orders) -> None:
        """The event starts the retraining; people go on asking until the new model answers."""
        store, load = Store.of(self.living), self.telling.load(street)
        with self.act("The event starts a retraining", day=self.plan.swap_day - 1) as told, load:
            run = self._through(orders, orders.started_by_event("retraining", 120), {})
            live = read_current(store).release or ""
            self.story.releases["live"] = live
            if live != self.story.releases["first"]:
                _until(lambda: load.answered_by(live) >= AFTER)
            self.story.retraining = found = self._retrained(orders, run)
            told.append(f"{found.rows:,} events and {found.items} items taken in; {found.outcome}")
        self.story.swap = load.tally.summary()

    def _through(self, orders: Orders, run: Run, asked: dict[str, Any]) -> Run:
        """Wait for a run of the retraining; one that a kill ended is started again."""
        while True:
            since = time.monotonic()
            try:
                return orders.wait(run, LONG, self.say)
            except BridgeRecError as error:
                if not self.telling.killer.hit_a_run(since):
                    raise
                self.story.again.append(f"{run.name}: {str(error).splitlines()[0]}")
            run = orders.start("retraining", asked | {"reason": f"{run.name} was killed"})

    def _retrained(self, orders: Orders, run: Run) -> Retraining:
        by_event = [r for r in orders.runs("retraining") if r.started_by == "AUTOMATION"]
        decision = read_json(self.living.reports / "decision.json")
        taken = read_json(self.living.reports / "intake" / "history.json")
        first, live = self.story.releases["first"], self.story.releases["live"]
        releases = Store.of(self.living).all()
        verdicts = [r.read("verdict")["reasons"] for r in releases if r.id != first]
        said = [line for line in orders.log(run) if "kept the champion" in line]
        return Retraining(
            by_event=len(by_event),
            seconds=run.seconds,
            rows=sum(sum(one["rows"].values()) for one in taken),
            items=sum(sum(one["items"].values()) for one in taken),
            outcome=f"{live} is live in place of {first}" if live != first else said[-1],
            reasons=[*decision["reasons"], *(verdicts[-1] if verdicts else [])],
        )

    def _later(self, street: Street) -> None:
        with self.act("Days with the maintained model", day=self.plan.swap_day) as told:
            told.append(self.telling.days(street, self.plan.swap_day, self.plan.days))
            told.append(self.telling.compare())

    def _refuse(self, street: Street, orders: Orders) -> None:
        """Somebody checks in a candidate that learned from shuffled labels."""
        store, load = Store.of(self.living), self.telling.load(street)
        before = read_current(store).release or ""
        with self.act("A bad candidate", day=self.plan.days - 1) as told, load:
            with candidate.misled(self.living):
                asked = {"intake": False, "reason": "rehearsal"}
                self._through(orders, orders.start("retraining", asked), asked)
                decision = read_json(self.living.reports / "decision.json")
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


def _until(true: Callable[[], bool], seconds: float = 120) -> None:
    limit = time.monotonic() + seconds
    while not true() and time.monotonic() < limit:
        time.sleep(0.2)
