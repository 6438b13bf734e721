"""All commands, listed in the order in which a newcomer meets them."""

from importlib import import_module

import typer

app = typer.Typer(
    name="bridgerec",
    help="Cross-domain recommendation with pretrained language models: from raw tables to a "
    "served, monitored recommender.\n\nBegin with `bridgerec demo`, or with `bridgerec init` for "
    "tables of your own.  A workspace is the folder with params.yaml, data/ and all results.",
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

EXAMPLES = {
    "init": (
        "init shop --domain books=b/events.csv,b/items.csv --domain films=f/events.csv,f/items.csv",
    ),
    "simulate": ("simulate -C trial --users 500 --items 300",),
    "run": ("run", "run evaluate -C shop", "run train@two_tower --force"),
    "stage": ("stage prepare", "stage train two_tower"),
    "evaluation": ("evaluation", "evaluation --json"),
    "tune": ("tune two_tower", "tune --apply"),
    "recommend": (
        "recommend films --user u00007",
        "recommend films --item books:B00012 --item books:B00340",
    ),
    "serve": ("serve", "serve --port 3100 --workers 2"),
    "backfill": ("backfill --target films --k 20",),
    "up": ("up", "up --free-ports -C shop"),
    "verify": ("verify artifacts/bento",),
}

for panel, names in PANELS.items():
    for name in names:
        found = getattr(import_module(f"bridgerec.cli.{name}"), name)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name, rich_help_panel=panel)
        else:
            told = "\n\n".join(f"bridgerec {words}" for words in EXAMPLES.get(name, ()))
            epilog = f"For example:\n\n{told}" if told else None
            app.command(name, rich_help_panel=panel, epilog=epilog)(found)
