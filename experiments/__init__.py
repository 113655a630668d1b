"""One file per table of a paper; `python -m experiments` lists them."""

import signal
import sys

if sys.argv[0] == "-m":  # a command's modules are being imported: Ctrl-C ends it, in silence
    signal.signal(signal.SIGINT, signal.SIG_DFL)
