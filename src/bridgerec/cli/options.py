"""Options that every command shares."""

from pathlib import Path
from typing import Annotated

import typer

Directory = Annotated[
    Path,
    typer.Option(
        "-C",
        "--directory",
        help="The workspace: the folder with params.yaml.",
        show_default="current folder",
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
HERE = Path(".")
