"""Asking a model off the event loop, within a time limit."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.data.dataset import Histories
from bridgerec.models.base import Candidate
from bridgerec.serving.ranker import Question, Recommender

Floats = NDArray[np.float32]
# one row of scores of the target's catalogue items, for one history
Score = Callable[[Candidate, Histories, str], Awaitable[Floats]]
log = logging.getLogger(__name__)


class InThread:
    """Scores one history at a time in one thread: numpy's own parallelism is the library's."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="score")

    async def __call__(self, model: Candidate, histories: Histories, target: str) -> Floats:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._pool, model.score, histories, target)
        row: Floats = found[0]
        return row

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


async def answer(
    recommender: Recommender, question: Question, score: Score, seconds: float
) -> tuple[dict[str, Any], Question]:
    """The answer and the question as it was answered: by the baseline, where the model fails,
    gives scores that are no numbers, or takes longer than `seconds`."""
    try:
        scores = await asyncio.wait_for(_scores(question, score), seconds)
        return recommender.finish(question, scores), question
    except TimeoutError:
        why = f"the model took longer than {seconds:g} s"
    except Exception as error:
        log.exception("request %s: scoring failed", question.request_id)
        why = f"the model failed ({type(error).__name__})"
    question = recommender.fallen_back(question, why)
    # in this thread: the other one may still be busy, and counting takes microseconds
    found = {p.target: p.model.score(p.histories, p.target)[0] for p in question.parts}
    return recommender.finish(question, found), question


async def _scores(question: Question, score: Score) -> dict[str, Floats]:
    found = {}
    for part in question.parts:
        row = await score(part.model, part.histories, part.target)
        if not np.isfinite(row).all():
            raise FloatingPointError(
                f"{part.name} gave scores for {part.target} that are no numbers"
            )
        found[part.target] = row
    return found
