"""All commands, listed in the order in which a newcomer meets them."""

from importlib import import_module

import typer

app = typer.Typer(
    name="bridgerec",
    help="Cross-domain recommendation with pretrained language models: from raw tables to a "
    "served, monitored recommender.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

PANELS = {
    "Start": ("demo", "init", "simulate", "doctor"),
    "Pipeline": ("run", "stage", "evaluation", "tune", "intake"),
    "Use": ("recommend", "serve", "keys", "monitor", "backfill"),
    "Operate": ("up", "down", "status", "releases", "verify", "rehearse"),
}

for panel, names in PANELS.items():
    for name in names:
        found = getattr(import_module(f"bridgerec.cli.{name}"), name)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name, rich_help_panel=panel)
        else:
            app.command(name, rich_help_panel=panel)(found)
