"""From a declared space to Optuna's distributions and back to options of a candidate."""

import json
from typing import Any, get_args

from bridgerec.config import Choice, Params, Range, Space
from bridgerec.errors import ConfigError
from bridgerec.models.base import build, find_class

Options = dict[str, Any]
DIGITS = 4  # significant ones of a drawn number: what is tried is what params.yaml then says


def space_of(params: Params, name: str) -> Space:
    """The space of one candidate: that of `tune.spaces`, else the one that its class declares.

    Raises:
        ConfigError: no such candidate, nothing to search, an option that the candidate does not
            have, or a value that it does not take.
    """
    if name not in params.models:
        raise ConfigError(f"{name} has no entry under models; there are {list(params.models)}.")
    model = params.models[name]
    found = find_class(model.use)
    space = params.tune.spaces.get(name, found.space)
    if not space:
        raise ConfigError(
            f"{model.use} declares no space to search; write one in params.yaml: "
            f"`tune: {{spaces: {{{name}: {{OPTION: {{low: 0, high: 1}}}}}}}}`."
        )
    for option, values in space.items():
        place = f"tune.spaces.{name}.{option}"
        if option not in found.config_class.model_fields:
            known = list(found.config_class.model_fields)
            raise ConfigError(f"{place}: {model.use} has no such option; it has {known}.")
        ends = values.choice if isinstance(values, Choice) else (values.low, values.high)
        for value in ends:
            try:
                build(name, model.model_copy(update={option: value}))
            except ConfigError as error:
                raise ConfigError(f"{place}: {value!r} is out of place: {error}") from error
    return space


def tunable(params: Params) -> tuple[str, ...]:
    """The candidates that have a space to search."""
    return tuple(
        n
        for n in params.candidates
        if n in params.tune.spaces or find_class(params.models[n].use).space
    )


def current_options(params: Params, name: str, space: Space) -> Options:
    """The values that the options of the space have now, defaults included."""
    config = build(name, params.models[name]).config.model_dump(mode="json")
    return {option: config[option] for option in space}


def distributions(params: Params, name: str, space: Space) -> dict[str, Any]:
    """Optuna's distributions.  A choice is stored as JSON, so that it can be of any kind."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    fields = find_class(params.models[name].use).config_class.model_fields
    found: dict[str, Any] = {}
    for option, values in space.items():
        if isinstance(values, Choice):
            found[option] = CategoricalDistribution([json.dumps(v) for v in values.choice])
        elif _whole(fields[option].annotation):
            found[option] = IntDistribution(int(values.low), int(values.high), log=values.log)
        else:
            found[option] = FloatDistribution(values.low, values.high, log=values.log)
    return found


def _whole(annotation: Any) -> bool:
    kinds = get_args(annotation) or (annotation,)
    return int in kinds and float not in kinds


def decode(space: Space, drawn: Options) -> Options:
    """What Optuna drew, as options."""
    return {option: _value(space[option], value) for option, value in drawn.items()}


def _value(values: Range | Choice, drawn: Any) -> Any:
    if isinstance(values, Choice):
        return json.loads(drawn)
    if isinstance(drawn, int):
        return drawn
    return min(max(float(f"{drawn:.{DIGITS}g}"), values.low), values.high)


def encode(space: Space, dists: dict[str, Any], options: Options) -> Options:
    """Options as Optuna stores them, without those that lie outside the space."""
    found = {o: json.dumps(v) if isinstance(space[o], Choice) else v for o, v in options.items()}
    return {
        option: value
        for option, value in found.items()
        if isinstance(value, str | int | float) and _inside(dists[option], value)
    }


def _inside(distribution: Any, value: Any) -> bool:
    try:
        return bool(distribution._contains(distribution.to_internal_repr(value)))
    except ValueError:  # a choice that is none
        return False
