"""The `wsjax` command: one file a verb, each a thin layer over one Python function.

    wsjax inspect model.safetensors      wsjax.inspect("model.safetensors")
    wsjax --help

`main.py` lists the verbs and imports one when it runs; `output.py` shows what a verb found as
tables, as JSON or as one HTML page, and ends the process with the verb's exit code.
"""
