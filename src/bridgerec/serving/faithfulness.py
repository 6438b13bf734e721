"""Are explanations true?  The named history item is taken away, and a random other one.

For people with a history and the items that a model recommends to them, the history item with the
largest contribution (`serving.explain`) is left out, and another one at random instead: without the
true reason the recommended item falls further among the target's items.  Where contributions are
measured by leaving items out, only a mistake can make that fail; so each of the two is also shown
to the model alone, and the true reason has to lift the recommended item higher.  (Deletion and
insertion, as of Petsiuk et al., BMVC 2018, with history items for pixels.)
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bridgerec.data.dataset import Cases, Histories
from bridgerec.evaluation.significance import Bootstrap, Difference
from bridgerec.models.base import Candidate
from bridgerec.models.scores import standardised
from bridgerec.serving.explain import LEAST, MOST, attribute

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Faithfulness:
    """Means over `people`, of all their `pairs` (a recommended item and the history).

    `fall`: by how many deviations the item falls without the named entry; `other`: without a random
    other one; `removed` compares the two, `alone` the item's place when the model sees nothing but
    the named entry with that when it sees the other one alone.  `share` of the pairs in which the
    named one mattered more.
    """

    people: int
    pairs: int
    fall: float
    other: float
    removed: Difference
    alone: Difference
    share: float


def faithfulness(
    model: Candidate,
    cases: Cases,
    people: int = 200,
    top: int = 5,
    seed: int = 0,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Faithfulness | None:
    """Test the explanations of the `top` unseen items for at most `people` of the cases.

    People need two or more different items in their history.  None: no history item was named for
    anybody, as with a model that does not look at histories.
    """
    rng, found = np.random.default_rng(seed), []
    for row in rng.permutation(len(cases)):
        tested = _person(model, cases.histories.take(np.array([row])), cases.target, top, rng)
        if len(tested):
            found.append(tested)
        if len(found) == people:
            break
    if not found:
        return None
    means = np.array([tested.mean(axis=0) for tested in found])
    pairs = np.concatenate(found)
    drawn = Bootstrap(len(means), resamples, confidence, seed)
    return Faithfulness(
        people=len(means),
        pairs=len(pairs),
        fall=float(means[:, 0].mean()),
        other=float(means[:, 1].mean()),
        removed=drawn.difference(means[:, 0], means[:, 1]),
        alone=drawn.difference(means[:, 2], means[:, 3]),
        share=float((pairs[:, 0] > pairs[:, 1]).mean()),
    )


def _person(
    model: Candidate, history: Histories, target: str, top: int, rng: np.random.Generator
) -> Floats:
    """Per recommended item: its fall without the named entry and without the other one, and its
    place with either alone; shape (items, 4)."""
    if len(np.unique(history.last(MOST).items)) < 2:
        return np.empty((0, 4))
    if history.timestamp is not None:
        history = replace(history, asked=history.moment)
    block = model.block(target)
    scores = model.score(history, target)[0]
    scores[history.within(block).items - block.start] = -np.inf
    best = np.argsort(-scores, kind="stable")[: min(top, int(np.isfinite(scores).sum()))]
    added = attribute(model, history, target, best + block.start)
    kept, places = [np.ones(len(history.items), dtype=bool)], []
    for place, row in zip(best.tolist(), added, strict=True):
        named = history.items[row.argmax()]
        others = np.unique(history.last(MOST).items)
        if row.max() <= LEAST:
            continue
        other = rng.choice(others[others != named])
        kept += [history.items != named, history.items != other]
        kept += [history.items == named, history.items == other]
        places.append(place)
    if not places:
        return np.empty((0, 4))
    changed = history.take(np.zeros(len(kept), dtype=np.int64)).where(np.concatenate(kept))
    after = standardised(model.score(changed, target)).astype(np.float64)
    found = np.array([after[1 + 4 * i : 5 + 4 * i, place] for i, place in enumerate(places)])
    found[:, :2] = after[0, places][:, None] - found[:, :2]
    return found
