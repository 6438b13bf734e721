"""A search that can be killed and goes on: Optuna's TPE with median pruning, kept in SQLite.

Bergstra et al. (2011, TPE); Golovin et al. (2017, median stopping); Akiba et al. (2019, Optuna).
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bridgerec.config import Workspace
from bridgerec.errors import ArtifactError, BridgeRecError, MissingDependency
from bridgerec.evaluation.significance import Bootstrap, Difference
from bridgerec.models.base import build, find_class
from bridgerec.tuning.judge import Judge
from bridgerec.tuning.params_file import edited, read_text, write_text
from bridgerec.tuning.space import (
    Options,
    current_options,
    decode,
    distributions,
    encode,
    space_of,
)

STARTUP = 5  # finished trials before one can be given up


@dataclass(frozen=True)
class State:
    """Where a search stands; `value` is the best by the people of the search."""

    trials: int
    given_up: int
    seconds: float
    share: float  # of the budget
    value: float | None


@dataclass(frozen=True)
class Result:
    """The best options against the current ones.

    `searched` and `held_back` are (current, best), by the people whom the search saw and by the
    others; `gain` is the paired difference of the latter.  `changes` is empty when the current
    options were the best.
    """

    candidate: str
    state: State
    changes: Options
    searched: tuple[float, float]
    held_back: tuple[float, float]
    gain: Difference | None

    @property
    def better(self) -> bool:
        """Also for people whom the search did not see."""
        return self.gain is not None and self.gain.mean > 0

    def write(self, path: Path) -> None:
        """Change the candidate's options in a `params.yaml`."""
        write_text(path, edited(read_text(path), {self.candidate: self.changes}))


class Search:
    """The search of one candidate.

    Raises:
        MissingDependency: Optuna is not installed.
        ConfigError: the candidate or its space is wrong.
        ArtifactError: an earlier stage did not run, or the search's own file is damaged.
    """

    def __init__(self, workspace: Workspace, name: str) -> None:
        try:
            import optuna
        except ImportError as error:
            raise MissingDependency(
                "the search needs Optuna; install it with `pip install 'bridgerec[tune]'`."
            ) from error
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.params, self.name = workspace.params, name
        self.tune, self.space = self.params.tune, space_of(self.params, name)
        self.current = current_options(self.params, name, self.space)
        self.distributions = distributions(self.params, name, self.space)
        self.effort = find_class(self.params.models[name].use).effort
        self.judge = Judge(workspace, name)
        path = workspace.tuning / f"{name}.db"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.study = optuna.create_study(
                storage=f"sqlite:///{path}",
                study_name=self._fingerprint(),
                direction="maximize",
                pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP),
                load_if_exists=True,
            )
        except Exception as error:  # of SQLAlchemy, SQLite or Optuna, by what is damaged
            raise ArtifactError(
                f"{path} is no search that can be gone on with ({type(error).__name__}). "
                "Delete it to begin anew."
            ) from error

    def _fingerprint(self) -> str:
        """Names a search: the same in everything but its budget."""
        told = {
            "model": self.params.models[self.name].model_dump(mode="json"),
            "space": {o: v.model_dump(mode="json") for o, v in self.space.items()},
            "tune": self.tune.model_dump(mode="json", exclude={"trials", "seconds", "spaces"}),
            "seed": self.params.seed,
            "data": self.judge.data,
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    def run(self, tell: Callable[[State], None] = lambda _: None) -> Result:
        """Go on until the budget is used, then judge; `tell` hears of every ended trial."""
        from optuna.trial import TrialState

        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.study.tell(trial.number, state=TrialState.FAIL)  # of a killed search
        state = self.state()
        tell(state)
        while state.share < 1:
            self._first() if state.trials == 0 else self._next(state.trials)
            state = self.state()
            tell(state)
        return self._result(state)

    def state(self) -> State:
        """What is stored; trials that were killed do not count."""
        from optuna.trial import TrialState

        ended = [t for t in self.study.get_trials(deepcopy=False) if "seconds" in t.user_attrs]
        ended = [t for t in ended if t.state.is_finished()]
        ended = [t for t in ended if t.state != TrialState.FAIL or "error" in t.user_attrs]
        seconds = sum(float(t.user_attrs["seconds"]) for t in ended)
        shares = [len(ended) / self.tune.trials] if self.tune.trials else []
        shares += [seconds / self.tune.seconds] if self.tune.seconds else []
        values = [t.value for t in ended if t.state == TrialState.COMPLETE]
        given_up = sum(t.state == TrialState.PRUNED for t in ended)
        best = max((v for v in values if v is not None), default=None)
        return State(len(ended), given_up, seconds, max(shares), best)

    def _measure(self, options: Options, stop: Callable[[float], bool]) -> float | None:
        """The value by the people of the search; None when `stop` said so at the early look."""
        share, judge = self.tune.early_share, self.judge
        config = self._config(options)
        full = getattr(config, self.effort) if self.effort else 0
        part = max(1, round((share or 0) * full))
        if share is not None and self.effort and part < full:
            early = judge.values(judge.train({**options, self.effort: part}), "search")
            if stop(float(early.mean())):
                return None
            share = None
        models = judge.train(options)
        if share is not None:
            early = judge.values(models, "early")
            if len(early) and stop(float(early.mean())):
                return None
        return float(judge.values(models, "search").mean())

    def _config(self, options: Options) -> Any:
        return build(self.name, self.params.models[self.name].model_copy(update=options)).config

    def _first(self) -> None:
        """The current options exactly, even where they lie outside the space."""
        from optuna.trial import create_trial

        began, seen = time.process_time(), {}

        def look(value: float) -> bool:
            seen[0] = value
            return False

        value = self._measure({}, look)
        inside = encode(self.space, self.distributions, self.current)
        self.study.add_trial(
            create_trial(
                value=value,
                params=inside,
                distributions={option: self.distributions[option] for option in inside},
                intermediate_values=seen,
                user_attrs={"options": self.current, "seconds": time.process_time() - began},
            )
        )

    def _next(self, ended: int) -> None:
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        # by the number of ended trials: a search that was killed draws what it would have drawn
        seed = int(np.random.SeedSequence([self.params.seed, ended]).generate_state(1)[0])
        self.study.sampler = TPESampler(seed=seed)
        began, trial = time.process_time(), self.study.ask(self.distributions)
        options = decode(self.space, trial.params)
        trial.set_user_attr("options", options)

        def look(value: float) -> bool:
            trial.report(value, 0)
            return bool(trial.should_prune())

        value, state = None, TrialState.PRUNED
        try:
            value = self._measure(options, look)
        except (BridgeRecError, ArithmeticError, np.linalg.LinAlgError) as error:
            # options that do not go together, or scores that are not finite
            trial.set_user_attr("error", str(error))
            state = TrialState.FAIL
        trial.set_user_attr("seconds", time.process_time() - began)
        if value is None:
            self.study.tell(trial, state=state)
        else:
            self.study.tell(trial, value)

    def _result(self, state: State) -> Result:
        from optuna.trial import TrialState

        trials = self.study.get_trials(deepcopy=False)
        first = next(t for t in trials if t.user_attrs.get("options") == self.current)
        done = [t for t in trials if t.state == TrialState.COMPLETE]
        best = max(done, key=lambda t: (t.value, -t.number))
        options = best.user_attrs["options"]
        changes = {o: v for o, v in options.items() if v != self.current[o]}
        searched = (first.value, best.value)
        if not changes:
            return Result(self.name, state, {}, searched, (0.0, 0.0), None)
        key = f"judged {best.number}"
        if key not in self.study.user_attrs:
            self.study.set_user_attr(key, self._judge(changes))
        values, gain = self.study.user_attrs[key]
        return Result(self.name, state, changes, searched, tuple(values), Difference(**gain))

    def _judge(self, changes: Options) -> tuple[list[float], dict[str, float]]:
        """Both trained with seeds that the search did not use, on people that it did not see."""
        config, judge = self.params.evaluation, self.judge
        seeds = range(1, config.seeds + 1) if judge.random else range(1)
        current, best = (
            np.mean([judge.values(judge.train(o, i), "held_back") for i in seeds], axis=0)
            for o in ({}, changes)
        )
        bootstrap = Bootstrap(len(best), config.bootstrap, config.confidence, self.params.seed)
        gain = bootstrap.difference(best, current)
        return [float(current.mean()), float(best.mean())], asdict(gain)
