"""Following the control file: what it names is loaded, what it no longer names is dropped."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from bridgerec.errors import BridgeRecError
from bridgerec.registry.bundle import find_bundle
from bridgerec.runtime import BrokenFile
from bridgerec.serving.canary.plan import Plan, Stamp, read_plan, stamp, write_plan

CHECK_EVERY = 0.2  # seconds between looks at the control file


class Release(Protocol):
    """A loaded release, of which only the name is needed here."""

    @property
    def release(self) -> str: ...


R = TypeVar("R", bound=Release)


@dataclass
class Trial(Generic[R]):
    """A plan and how it goes in this worker.  `second` is None while it is being loaded and where
    it could not be (`reason`); `errors` are failures that main made good.  `before` is the trial
    that goes on should this one's release not load."""

    plan: Plan | None = None
    second: R | None = None
    reason: str | None = None
    loading: threading.Thread | None = None
    before: "Trial[R] | None" = None
    answered: int = 0
    errors: int = 0
    in_a_row: int = 0

    @property
    def state(self) -> str:
        """none, loading, on, off or refused."""
        if self.plan is not None and self.plan.off:
            return "off"
        if self.reason is not None:
            return "refused"
        if self.plan is None:
            return "none"
        return "loading" if self.second is None else "on"

    def active(self, mode: str) -> R | None:
        """The second release, if it is on in this mode."""
        plan = self.plan
        return self.second if plan is not None and plan.mode == mode and not plan.off else None


class Follower(Generic[R]):
    """`trial` is what the control file wants now.  `load` opens a bundle, in a thread."""

    def __init__(self, load: Callable[[Path], R], control: Path | None) -> None:
        self.load, self.control = load, control
        self.trial: Trial[R] = Trial()
        self._stamp: Stamp | None = None
        self._looked = float("-inf")
        self._lock = threading.Lock()

    def look(self, now: bool = False) -> Trial[R]:
        """The trial, after reading the file if it changed; `now`: even if it was just done."""
        moment = time.monotonic()
        if self.control is not None and (now or moment - self._looked >= CHECK_EVERY):
            with self._lock:
                self._looked = moment
                found = stamp(self.control)
                if found != self._stamp:
                    self._stamp = found
                    self.trial = self._next(self.control if found else None)
        return self.trial

    def _next(self, control: Path | None) -> Trial[R]:
        if control is None:
            return Trial()
        try:
            plan = read_plan(control)
        except BridgeRecError as error:
            return Trial(reason=str(error))
        now = self.trial
        for old in (now, now.before):
            if old is None or old.plan is None or old.reason is not None:
                continue
            if old.plan.of_the_same_trial(plan):
                if old.plan.off and not plan.off:
                    old.in_a_row = 0
                old.plan = plan  # another share or mode of what is loaded
                return old
        trial: Trial[R] = Trial(plan, before=now if now.second is not None else now.before)
        trial.loading = threading.Thread(target=self._open, args=(trial, plan), daemon=True)
        trial.loading.start()
        return trial

    def _open(self, trial: Trial[R], plan: Plan) -> None:
        try:
            found = self.load(find_bundle(Path(plan.bento)))
            plan.check(found.release)
            trial.second, trial.before = found, None
        except (BridgeRecError, BrokenFile) as error:
            trial.reason = str(error)
        except Exception as error:  # whatever is wrong with it, main goes on
            trial.reason = f"{plan.bento} cannot be loaded ({type(error).__name__}: {error})."

    def wait(self, seconds: float) -> bool:
        """Wait for a release that is being loaded; whether that is over."""
        loading = self.trial.loading
        if loading is not None:
            loading.join(seconds)
        return loading is None or not loading.is_alive()

    def switch_off(self, trial: Trial[R], why: str) -> None:
        """End a trial, in all workers; the file keeps the reason."""
        with self._lock:
            if trial.plan is None or trial.plan.off:
                return
            trial.plan = trial.plan.model_copy(update={"off": why})
            if trial is self.trial and self.control is not None and self.control.exists():
                write_plan(self.control, trial.plan)
