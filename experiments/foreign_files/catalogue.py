"""Every case: its number in the list of what real files look like, and what makes it."""

import pathlib
from collections.abc import Callable

from experiments.foreign_files import contents, structure
from experiments.foreign_files.answers import Answer

CASES: dict[str, Callable[[pathlib.Path], Answer]] = {
    "1": structure.twelve_layers,
    "2": structure.training_run,
    "3": structure.module_in_two_places,
    "4": structure.two_wrappers,
    "5": structure.name_within_a_name,
    "6": structure.no_arrays,
    "7": structure.objects_beside,
    "8a": structure.before_version_1_6,
    "8b": structure.whole_module,
    "9a": structure.average_beside,
    "9b": structure.flat_average,
    "10": structure.average_of_nan,
    "11": structure.stray_beside_an_index,
    "12a": structure.restarting_shards,
    "12b": structure.listed_one_by_one,
    "13a": structure.half_a_file,
    "13b": structure.all_zero_but_one,
    "14": structure.shard_of_noise,
    "15": structure.one_nan,
    "16": structure.nan_beside_packed,
    "17": structure.other_norms,
    "18": contents.two_layouts,
    "19": contents.blocks_of_eight_bits,
    "20": contents.spellings_of_scales,
    "21": contents.exponents,
    "22": contents.packed_integers,
    "23": contents.four_bits,
    "24": contents.empty_and_single,
    "25": contents.complex_numbers,
    "26a": contents.tied_by_storage,
    "26b": contents.tied_by_value,
    "26c": contents.tied_by_offsets,
    "27a": contents.weight_norms,
    "27b": contents.spectral_norm,
    "28a": contents.grouped_convolutions,
    "28b": contents.lstm,
    "29": contents.adapter,
    "30": contents.four_devices,
    "31a": contents.onnx_constants,
    "31b": contents.onnx_external,
    "31c": contents.onnx_missing,
    "32": contents.another_recipe,
    "33": contents.estimate,
}


def what(number: str) -> str:
    """A case in a sentence."""
    return (CASES[number].__doc__ or "").split("\n")[0]
