"""`python -m bridgerec.cli`."""

from bridgerec.cli import main

main()
