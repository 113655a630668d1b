"""`python -m wsjax`: the `wsjax` command."""

from wsjax.cli.main import main

main(prog_name="wsjax")
