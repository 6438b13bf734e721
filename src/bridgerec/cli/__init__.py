"""The command line.  `main` is the entry point; each command is a module of this package."""

import sys


def main() -> None:
    """Run the command line; user errors become one message and an exit code."""
    from bridgerec.runtime import prepare_environment

    prepare_environment()
    from bridgerec.cli.app import app
    from bridgerec.errors import BridgeRecError

    try:
        app()
    except BridgeRecError as error:
        if "--debug" in sys.argv:
            raise
        from rich.console import Console

        console = Console(stderr=True, soft_wrap=True, highlight=False)
        console.print("[bold red]Error:[/]", end=" ")
        console.print(str(error), markup=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
