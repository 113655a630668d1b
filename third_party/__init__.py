"""Readers of published model zoos: files as their authors distribute them, in; a `Zoo`, out.

    small_cnn_zoo     Unterthiner et al. (2020)
    schuerholt_zoos   Schürholt et al. (2022)
    inr_folders       the INRs of DWSNets and NFN (2023)

`published` holds the parts that the readers share: checks, storage orders, the command line.
PyTorch's files are parsed by `wsjax.files`, without PyTorch and without executing anything in
them. `README.md` lists licences, addresses and layouts.
"""
