"""`bridgerec rehearse`: the closed loop, played through once."""

import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from bridgerec.cli.options import HERE, Debug, Directory
from bridgerec.config import Workspace

STOPPED = (
    "Stopped, with all that was started. The same command begins again; a first year that is "
    "trained is kept."
)


def rehearse(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where it plays; a new folder.")
    ] = Path("rehearsal"),
    seed: Annotated[int, typer.Option(min=0, help="Of the world and of what people do.")] = 42,
    people: Annotated[int, typer.Option(min=100, help="How many people.")] = 400,
    items: Annotated[int, typer.Option(min=50, help="Items per domain.")] = 160,
    visits: Annotated[int, typer.Option(min=20, help="Visits a day.")] = 90,
    turn: Annotated[
        float, typer.Option(min=0, max=1, help="How far tastes turn; 0: not at all.")
    ] = 0.6,
    faults: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="SEED",
            help="Also kill -9 of each part, at moments drawn from this seed.",
            show_default="none",
        ),
    ] = None,
    directory: Directory = HERE,
    debug: Debug = False,
) -> None:
    """Rehearse the closed loop offline: traffic, a shift, drift, retraining, a change under load.

    A small simulated world is trained, released and served by real servers; then the world
    changes.  Ends with DIR/story.html and DIR/story.json.  Ctrl-C stops everything that it
    started; started again, also after kill -9, it keeps the trained first year.
    """
    from bridgerec.rehearsal.acts import Rehearsal
    from bridgerec.rehearsal.faults import draw
    from bridgerec.rehearsal.plan import Plan

    place = Workspace.open(directory).root / folder
    plan = Plan(seed=seed, people=people, items=items, visits=visits, turn=turn)
    signal.signal(signal.SIGTERM, _interrupted)
    killed = () if faults is None else draw(faults)
    with _Programme() as programme:
        try:
            story = Rehearsal(place, plan, programme.say, programme.tell, killed).play()
        except KeyboardInterrupt:
            programme.console.print(STOPPED)
            raise
    typer.echo(f"\n{story.failures} of {story.sent:,} requests failed, {story.given_up} for good; "
               f"{story.lost} of {story.accepted:,} accepted events are lost.")  # fmt: skip
    for name, found in story.gain.items():
        typer.echo(f"{name}, maintained against frozen: {found.value:+.4f} "
                   f"[{found.low:+.4f}, {found.high:+.4f}]")  # fmt: skip
    typer.echo(f"The story: {place / 'story.html'}")
    typer.echo(f"The workspace as it was left: bridgerec up -C {place / 'workspace'}")


def _interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


class _Programme:
    """The act that plays, with its time and its newest line; acts that are over stay above."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self.console = Console(highlight=False, soft_wrap=True)
        self.bar = Progress(
            SpinnerColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=self.console,
            transient=True,
        )
        self.task = self.bar.add_task("")

    def __enter__(self) -> "_Programme":
        self.bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.stop()

    def say(self, line: str) -> None:
        width = max(self.console.width - 14, 20)
        self.bar.update(self.task, description=line.replace("\n", " ")[:width])

    def tell(self, act: Any) -> None:
        from bridgerec.rehearsal.curves import span

        self.console.print(f"{span(act.seconds):>6}  {act.name}", style="bold", markup=False)
        if act.words:
            self.console.print(f"        {act.words}", markup=False)
        self.bar.reset(self.task)
