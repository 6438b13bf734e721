"""Which processes are killed with kill -9, and when: a plan that is drawn from a seed."""

from typing import Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

Victim = Literal["service process", "service", "server", "worker", "stage"]
DAYS = ("Calm days", "Days with the old model", "Days with the maintained model")
RUNS = {  # acts that wait for a run of the flow, with the stages that it computes
    "The event starts a retraining": (
        *("validate", "prepare", "embed", "train", "evaluate", "select", "package"),
    ),
    "A bad candidate": ("train", "evaluate"),
}
OF_A_RUN = ("server", "worker", "stage")  # a run of the flow does not survive these


class Fault(BaseModel):
    """Kill the victim when the share `moment` of an act is over: of its visits, or of the stages of
    its run (2.7 of 7: when the third stage has begun, and a part of a second later)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    victim: Victim
    act: str
    moment: float = Field(ge=0, lt=1)

    @property
    def stage(self) -> int:
        """The number of the stage that has to have begun, in an act that waits for a run."""
        return int(self.moment * len(RUNS[self.act]))

    @property
    def delay(self) -> float:
        """Seconds after that."""
        return self.moment * len(RUNS[self.act]) % 1


def draw(seed: int) -> tuple[Fault, ...]:
    """One fault of each kind, in the order of their moments within an act: the service's on the
    days or during a run, the others during a run."""
    rng = np.random.default_rng([seed, 5])
    found = []
    for victim in get_args(Victim):
        acts = (*RUNS,) if victim in OF_A_RUN else (*DAYS, *RUNS)
        act = acts[int(rng.integers(len(acts)))]
        found.append(Fault(victim=victim, act=act, moment=round(float(rng.random()), 4)))
    return tuple(sorted(found, key=lambda fault: fault.moment))
