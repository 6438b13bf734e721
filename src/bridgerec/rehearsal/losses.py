"""What a kill cost: requests that failed, events that are not there any more."""

import time
from collections.abc import Iterable, Sequence

from bridgerec.config import Workspace
from bridgerec.rehearsal.story import Kill
from bridgerec.rehearsal.tally import Tally
from bridgerec.serving.state import open_store, state_place


def lost(accepted: Iterable[tuple[str, str]], living: Workspace) -> set[tuple[str, str]]:
    """Which of the accepted events, (person, event_id), are not in the service's store."""
    store = open_store(state_place(living))
    try:
        return set(accepted) - {(event.person, event.event_id) for event in store.all_events()}
    finally:
        store.close()


def blame(kills: Sequence[Kill], tallies: Sequence[Tally], began: float) -> tuple[list[Kill], int]:
    """The kills with the tries that failed while what was killed was away, and how many tries
    failed at other times.  `began`: the moment from which a kill's seconds count."""
    ends = [(began + k.at, began + k.at + k.away if k.away is not None else time.monotonic())
            for k in kills]  # fmt: skip
    failed = [(b, e) for tally in tallies for b, e in tally.failed_at]
    told = [
        kill.model_copy(update={"failed": sum(b <= end and e >= begin for b, e in failed)})
        for kill, (begin, end) in zip(kills, ends, strict=True)
    ]
    stray = sum(not any(b <= end and e >= begin for begin, end in ends) for b, e in failed)
    return told, stray
