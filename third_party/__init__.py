"""Published model zoos: where each comes from, and a reader that makes it a `Zoo`.

    small_cnn_zoo     Unterthiner et al. (2020)
    schuerholt_zoos   Schuerholt et al. (2022)
    inr_folders       the INRs of DWSNets and NFN (2023)

`torch_files` and `pickles` read PyTorch's files without PyTorch and without running what
is in them; `published` is what the readers share. `README.md` has the table.
"""
