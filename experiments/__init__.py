"""One file per table of a paper; `python -m experiments` lists them."""
