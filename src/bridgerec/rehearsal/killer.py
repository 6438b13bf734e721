"""Carries out a plan of faults beside the acts, and measures how long what was killed is away.

It only kills.  What brings back is what does so in earnest: BentoML for a process of the service,
`bridgerec up --stay` (`operations.keep`) for a part, whoever started a run for the run.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import psutil

from bridgerec.config import Workspace
from bridgerec.errors import BridgeRecError
from bridgerec.operations import parts as known
from bridgerec.operations.state import Running, read_state
from bridgerec.rehearsal.faults import OF_A_RUN, RUNS, Fault
from bridgerec.rehearsal.story import Kill

PARTS = {"service process": "service", "service": "service", "server": "prefect",
         "worker": "worker"}  # fmt: skip
WORKER_OF_BENTOML = "_bentoml_impl.worker.service"
LOOK = 0.05  # seconds
RETURN = 300.0  # seconds within which what was killed has to be back
Say = Callable[[str], None]


class Killer:
    """`began`: the moment from which the rehearsal's seconds count (`time.monotonic`)."""

    def __init__(
        self, workspace: Workspace, faults: Sequence[Fault], began: float, say: Say
    ) -> None:
        self.workspace, self.faults, self.began, self.say = workspace, faults, began, say
        self.kills: list[Kill] = []
        self.share = 0.0  # of the days' visits that are over
        self._back = threading.Event()  # nothing is away
        self._back.set()
        self._over = threading.Event()

    @contextmanager
    def during(self, act: str) -> Iterator[None]:
        """Carry out what the plan has for an act while the block runs.

        Raises:
            BridgeRecError: what was killed did not come back, or a fault could not be carried out.
        """
        due = [fault for fault in self.faults if fault.act == act]
        if not due:
            yield
            return
        self.share, self._over = 0.0, threading.Event()
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(self._carry_out, due)
            try:
                yield
            finally:
                self._over.set()
        if error := done.exception():
            raise BridgeRecError(f"{act}: a fault could not be carried out: {error!r}") from error
        if away := [kill.process for kill in self.kills if kill.away is None]:
            raise BridgeRecError(f"did not come back after kill -9: {', '.join(away)}")

    def hit_a_run(self, since: float) -> bool:
        """Whether something that a run of the flow does not survive was killed since; waits until
        it is back.  `since` counts as `began` does."""
        hits = [kill.victim in OF_A_RUN and kill.at >= since - self.began for kill in self.kills]
        self._back.wait(RETURN)
        return any(hits)

    def _carry_out(self, due: Sequence[Fault]) -> None:
        for fault in due:
            while (process := self._wait_for(fault)) is not None:
                with suppress(psutil.NoSuchProcess):  # it ended by itself just now
                    self._kill(fault, process)
                    break

    def _wait_for(self, fault: Fault) -> psutil.Process | None:
        """The victim at its moment; None: the act is over before."""
        while not self._over.wait(LOOK):
            if fault.act not in RUNS:
                if self.share < fault.moment:
                    continue
            elif not self._reached(fault) or self._over.wait(fault.delay):
                continue
            if (process := self._find(fault.victim)) is not None:
                return process
        return None

    def _reached(self, fault: Fault) -> bool:
        stages = RUNS[fault.act][fault.stage :]
        return any(name.split()[0] in stages for name in self._stages())

    def _kill(self, fault: Fault, process: psutil.Process) -> None:
        stage = _stage(process)
        left = _children(process) if fault.victim == "service" else []  # what answers, too
        process.kill()
        killed = time.monotonic()
        self._back.clear()
        for child in left:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        name = f"stage {stage}" if stage else fault.victim
        kill = Kill(
            victim=fault.victim,
            process=f"{name} ({process.pid})",
            act=fault.act,
            at=round(killed - self.began, 2),
        )
        self.kills.append(kill)
        self.say(f"kill -9: {kill.process}")
        if stage:
            self._back.set()  # it comes with the next run, whose starter waits for `hit_a_run`
        while time.monotonic() < killed + RETURN and not (stage and self._over.is_set()):
            if self._is_back(fault.victim, process.pid, stage):
                kill.away = round(time.monotonic() - killed, 1)
                self.say(f"{kill.process} is back after {kill.away} s")
                break
            time.sleep(LOOK)
        self._back.set()

    def _is_back(self, victim: str, pid: int, stage: str) -> bool:
        if victim == "stage":
            again = self._stages().get(stage)
            return again is not None and again.pid != pid
        process, part = self._find(victim), self._part(victim)
        if process is None or part is None or process.pid == pid:
            return False
        if victim == "server":
            return known.prefect_server().well(part.url)
        if victim == "worker":
            server = self._part("server")
            return server is not None and bool(
                known.online(f"{server.url}/api").intersection(_words(process))
            )
        return known.service(self.workspace).well(part.url)

    def _find(self, victim: str) -> psutil.Process | None:
        """The process to kill; None: it is not there."""
        if victim == "stage":
            return next(iter(self._stages().values()), None)
        part = self._part(victim)
        process = part.process if part is not None else None
        if victim != "service process" or process is None:
            return process
        return next((p for p in _children(process) if WORKER_OF_BENTOML in _words(p)), None)

    def _part(self, victim: str) -> Running | None:
        with suppress(BridgeRecError):
            return read_state(self.workspace).parts.get(PARTS[victim])
        return None

    def _stages(self) -> dict[str, psutil.Process]:
        """The stages that a run computes now, with their processes."""
        worker = self._find("worker")
        found = {_stage(p): p for p in (_children(worker) if worker is not None else ())}
        return {stage: process for stage, process in found.items() if stage}


def _children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return list(process.children(recursive=True))
    return []


def _words(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return list(process.cmdline())
    return []


def _stage(process: psutil.Process) -> str:
    """The stage that a process computes, such as `train item_knn`; empty: none."""
    words = _words(process)
    return " ".join(words[words.index("stage") + 1 :]) if "stage" in words else ""
