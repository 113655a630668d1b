"""`python -m wsjax`: the `wsjax` command."""

from wsjax.cli.main import main

if __name__ == "__main__":  # imported, it runs nothing
    main(prog_name="wsjax")
