"""Questions that arrive while a model is busy are asked together.

No timer: an idle model is asked at once, a busy one gets all that came in the meantime as one
batch.  So a lone request waits for nobody, and under load the batches grow by themselves.  The
queue is bounded: who would wait too long is told so, instead of being kept.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bridgerec.data.dataset import Histories
from bridgerec.models.base import Candidate
from bridgerec.serving.additions import Borrowed
from bridgerec.serving.problems import Unavailable
from bridgerec.serving.topk import Best, Ints, hide, merge_best, top_rows
from bridgerec.serving.towers import ServedTowers

Floats = NDArray[np.float32]
MOST = 64  # questions of one batch
WAITING = 1024  # questions
BRIEF = 0.05  # seconds of processor time that the event loop may be held
QUIET = 6  # rounds of the event loop without a new question, before those that wait are asked


class Wanted(NamedTuple):
    """A short list: the `k` best without the places `hidden` of the target's items; the places of
    items that were added since training follow those of the catalogue."""

    k: int
    hidden: Ints
    added: Borrowed | None = None


@dataclass(frozen=True, eq=False)
class Job:
    """One history (one row) for one target; without `wanted` all scores are the answer."""

    model: Candidate
    histories: Histories
    target: str
    wanted: Wanted | None = None


Waiting = tuple[Job, "asyncio.Future[Any]"]


class Batcher:
    """Answers `Job`s, one batch at a time, in a thread of its own: the event loop goes on
    reading and writing.  Short lists of towers are made on the event loop itself, as long as they
    hold it for less than `BRIEF`: two threads would only fight for the interpreter's lock.
    `patience` is how many seconds of work may wait."""

    def __init__(self, patience: float = 1.0, most: int = MOST, waiting: int = WAITING) -> None:
        self.patience, self.most, self.limit = patience, most, waiting
        self.each = self.work = 0.0  # seconds, and those of the processor, per question, lately
        self._waiting: deque[Waiting] = deque()
        self._task: asyncio.Task[None] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="score")

    async def __call__(self, job: Job) -> Floats | Best:
        """
        Raises:
            Unavailable: too many are waiting.
            Exception: what the model raised.
        """
        ahead = len(self._waiting)
        late = ahead >= 2 * self.most and ahead * self.each > self.patience
        if ahead >= self.limit or late:
            seconds = max(1, round(ahead * self.each))
            raise Unavailable(
                f"{ahead} questions are waiting already",
                f"Send it again in {seconds} s, or start more workers.",
                retry_after=seconds,
            )
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, done))
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        found: Floats | Best = await done
        return found

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                await self._gather()
                batch: list[Waiting] = []
                while self._waiting and len(batch) < self.most:
                    job, done = self._waiting.popleft()
                    if not done.cancelled():  # nobody waits for it any more
                        batch.append((job, done))
                if not batch:
                    continue
                start = time.monotonic()
                jobs = [job for job, _ in batch]
                if self.work * len(jobs) < BRIEF and all(
                    isinstance(job.model, ServedTowers) and job.wanted for job in jobs
                ):
                    answers, work = timed(jobs)
                else:
                    answers, work = await loop.run_in_executor(self._pool, timed, jobs)
                self.each = _lately(self.each, (time.monotonic() - start) / len(batch))
                self.work = _lately(self.work, work / len(batch))
                for (_, done), answer in zip(batch, answers, strict=True):
                    if done.cancelled():
                        continue
                    if isinstance(answer, Exception):
                        done.set_exception(answer)
                    else:
                        done.set_result(answer)
        finally:
            self._task = None
            for _, done in self._waiting:  # only when the worker is being stopped
                done.cancel()

    async def _gather(self) -> None:
        """Let the event loop send the last answers and read what has come, so that it is in the
        next batch.

        A request takes some rounds of the loop from its socket to here, and uvloop lets in only one
        new connection per round.  So two rounds between batches would keep the last of many new
        connections waiting for as many batches.
        """
        quiet = 0
        while quiet < (2 if len(self._waiting) >= self.most else QUIET):
            before = len(self._waiting)
            await asyncio.sleep(0)
            quiet = 0 if before < len(self._waiting) < self.most else quiet + 1

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def timed(jobs: Sequence[Job]) -> tuple[list[Floats | Best | Exception], float]:
    """`answer_all`, and the seconds of processor time that this thread needed for it."""
    start = time.thread_time()
    answers = answer_all(jobs)
    return answers, time.thread_time() - start


def _lately(old: float, new: float) -> float:
    return 0.8 * old + 0.2 * new if old else new


def answer_all(jobs: Sequence[Job]) -> list[Floats | Best | Exception]:
    """Each job's answer, or what its model raised.  Jobs of one model and target are answered
    together, short lists apart from full rows."""
    groups: dict[tuple[int, str, bool, int], list[int]] = {}
    for place, job in enumerate(jobs):
        short = job.wanted is not None
        added = id(job.wanted.added) if job.wanted is not None else 0
        groups.setdefault((id(job.model), job.target, short, added), []).append(place)
    found: list[Floats | Best | Exception] = [Best.nothing()] * len(jobs)
    for places in groups.values():
        answers = _guarded([jobs[place] for place in places])
        for place, answer in zip(places, answers, strict=True):
            found[place] = answer
    return found


def _guarded(jobs: Sequence[Job]) -> Sequence[Floats | Best | Exception]:
    try:
        return _together(jobs)
    except Exception as error:
        if len(jobs) == 1:
            return [error]
        return [_guarded([job])[0] for job in jobs]  # one bad question spoils no other


def _together(jobs: Sequence[Job]) -> Sequence[Floats | Best]:
    model, target = jobs[0].model, jobs[0].target
    histories = Histories.joined([job.histories for job in jobs])
    wanted = [job.wanted for job in jobs if job.wanted is not None]
    if not wanted:
        return list(_finite(model.score(histories, target), model, target))
    k, hidden, added = [w.k for w in wanted], [w.hidden for w in wanted], wanted[0].added
    if isinstance(model, ServedTowers) and model.settled(histories):
        size = (block := model.block(target)).stop - block.start
        known = [own[own < size] for own in hidden] if added is not None else hidden
        best = model.top(histories, target, k, known)
        if added is None:
            return best
        scores = model.borrow(histories, target, added)
        hide(scores, [own[own >= size] - size for own in hidden])
        others = top_rows(scores, k, [[]] * len(jobs))
        return [
            merge_best(one, other, size, n) for one, other, n in zip(best, others, k, strict=True)
        ]
    scores = _finite(model.score(histories, target), model, target)
    if added is not None:
        scores = np.hstack([scores, added.scores(scores)])
    return top_rows(scores, k, hidden)


def _finite(scores: Floats, model: Candidate, target: str) -> Floats:
    """
    Raises:
        FloatingPointError: a score is no number.
    """
    if not np.isfinite(scores).all():
        name = type(model).__name__
        raise FloatingPointError(f"{name} gave scores for {target} that are no numbers")
    return scores
