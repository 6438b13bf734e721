"""One function per stage of `dvc.yaml`; each reads and writes only what is declared there."""

from collections.abc import Callable

from bridgerec.config import Workspace
from bridgerec.errors import ConfigError

Say = Callable[[str], None]


def validate(workspace: Workspace, say: Say) -> None:
    """Run the expectation suites; critical findings stop the pipeline."""
    from bridgerec.validation.run import validate as run

    run(workspace, say)


def prepare(workspace: Workspace, say: Say) -> None:
    """Clean, encode ids, build histories and splits."""
    from bridgerec.data.prepare import prepare as run
    from bridgerec.runtime import keep_memory

    keep_memory()
    run(workspace, say)


def embed(workspace: Workspace, say: Say) -> None:
    """Encode every item's text; whiten on training items."""
    from bridgerec.pipeline.embed import embed as run
    from bridgerec.runtime import keep_memory

    keep_memory()
    run(workspace, say)


def train(workspace: Workspace, say: Say, candidate: str) -> None:
    """Fit one candidate on every split, several seeds where it draws random numbers."""
    from bridgerec.pipeline.train import train as run

    run(workspace, candidate, say)


def blend(workspace: Workspace, say: Say) -> None:
    """Learn on validation how far to trust which candidate."""
    from bridgerec.pipeline.blend import blend as run
    from bridgerec.runtime import keep_memory

    keep_memory()
    run(workspace, say)


def evaluate(workspace: Workspace, say: Say) -> None:
    """Judge every candidate on every split."""
    from bridgerec.evaluation.protocol import evaluate_workspace
    from bridgerec.runtime import keep_memory

    keep_memory()
    evaluate_workspace(workspace, say)


def select(workspace: Workspace, say: Say) -> None:
    """The gate: choose on validation, or refuse."""
    from bridgerec.registry.gate import select as run

    decision = run(workspace)
    for reason in decision.reasons:
        say(reason)


def package(workspace: Workspace, say: Say) -> None:
    """Build the Bento with its dossier."""
    from bridgerec.registry.bento import package as run
    from bridgerec.serving.rules import build_rules
    from bridgerec.serving.towers import prepare as prepare_bundle

    build_rules(workspace.params.service.rules)  # better refused here than when the service starts
    dossier = run(workspace, prepare_bundle)
    say(f"release {dossier.get('release', '')}")


STAGES: dict[str, Callable[[Workspace, Say], None]] = {
    "validate": validate,
    "prepare": prepare,
    "embed": embed,
    "blend": blend,
    "evaluate": evaluate,
    "select": select,
    "package": package,
}


def run_stage(workspace: Workspace, name: str, candidate: str | None, say: Say) -> None:
    """Run one stage by its name in `dvc.yaml`.

    Raises:
        ConfigError: the stage is unknown, or `train` is asked without a candidate.
    """
    if name == "train":
        if candidate not in workspace.params.candidates:
            raise ConfigError(
                f"train needs one of the candidates {list(workspace.params.candidates)}, "
                f"not {candidate!r}."
            )
        train(workspace, say, str(candidate))
    elif name in STAGES:
        STAGES[name](workspace, say)
    else:
        raise ConfigError(f"there is no stage {name!r}; the stages are train, {', '.join(STAGES)}.")
