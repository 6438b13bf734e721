"""The command line.  `main` is the entry point; each command is a module of this package."""

import sys
from pathlib import Path

UNFORESEEN = 70  # sysexits.h: an internal error


def main() -> None:
    """Run the command line; an error becomes one message and an exit code.

    `--debug` shows the traceback instead.
    """
    from bridgerec.runtime import BrokenFile, DiskFull, disk_full, no_room, prepare_environment

    prepare_environment()
    from bridgerec.cli.app import app
    from bridgerec.errors import BridgeRecError

    try:
        app()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        if no_room(error) and not isinstance(error, BridgeRecError | DiskFull):
            error = disk_full(Path(getattr(error, "filename", None) or Path.cwd()), error)
        if isinstance(error, BridgeRecError | BrokenFile | DiskFull):
            _tell(str(error))
            sys.exit(error.exit_code)
        _tell(
            f"{type(error).__name__}: {error}\n"
            "This case was not foreseen; run again with --debug to see where it happened."
        )
        sys.exit(UNFORESEEN)


def _tell(message: str) -> None:
    from rich.console import Console

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print("[bold red]Error:[/]", end=" ")
    console.print(message, markup=False)
