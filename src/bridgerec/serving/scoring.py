"""Asking the models within a time limit, with the baseline behind them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.serving.batching import Job
from bridgerec.serving.problems import Unavailable, frames
from bridgerec.serving.ranker import Question, Recommender
from bridgerec.serving.topk import Best

Floats = NDArray[np.float32]
Score = Callable[[Job], Awaitable[Floats | Best]]
log = logging.getLogger(__name__)


async def answer(recommender: Recommender, question: Question, score: Score) -> dict[str, Any]:
    """The answer: by the baseline, where the model fails, gives scores that are no numbers, or
    takes longer than the release's `model_seconds`.

    Raises:
        Unavailable: too many questions are waiting.
    """
    try:
        with recommender.limit():
            scores = await _scores(recommender, question, score)
        if question.request.explain:  # asks the model again: not in the event loop
            return await asyncio.to_thread(recommender.finish, question, scores)
        return recommender.finish(question, scores)
    except Unavailable:
        raise
    except TimeoutError:
        why = f"the model took longer than {recommender.limit.seconds:g} s"
    except Exception as error:
        what = type(error).__name__
        where = " < ".join(frames(error)[::-1])
        log.error("request %s: scoring failed, %s at %s", question.request_id, what, where)
        why = f"the model failed ({what})"
    question = recommender.fallen_back(question, why)
    # in this thread: the other one may still be busy, and counting takes microseconds
    return recommender.finish(question, recommender.score(question))


async def _scores(
    recommender: Recommender, question: Question, score: Score
) -> dict[str, Floats | Best]:
    jobs = recommender.jobs(question)
    if len(jobs) == 1:
        return {jobs[0].target: await score(jobs[0])}
    found = await asyncio.gather(*map(score, jobs))
    return {job.target: one for job, one in zip(jobs, found, strict=True)}
