"""Lists every experiment with what its presets cost, and the other commands; or runs one.

python -m experiments
python -m experiments inr_frequency --preset smoke      as python -m experiments.inr_frequency
"""

import ast
import importlib
import pathlib
import sys
from collections.abc import Sequence

from experiments import (
    accuracy_prediction,
    cross_architecture,
    cross_dataset,
    embeddings,
    generalization,
    inr_ablation,
    inr_classification,
    inr_editing,
    inr_frequency,
    inr_self_supervised,
)
from experiments.lib import cli

EXPERIMENTS = {  # name -> the papers' tables, the module
    "inr_frequency": ("SNE, table 1", inr_frequency),
    "inr_ablation": ("SNE, tables 6 and 7, figure 3, appendix E.3", inr_ablation),
    "inr_self_supervised": ("GMN, table 3", inr_self_supervised),
    "inr_classification": ("ScaleGMN, table 1", inr_classification),
    "inr_editing": ("GMN, table 2", inr_editing),
    "cross_dataset": ("SNE, tables 5 and 8", cross_dataset),
    "cross_architecture": ("SNE, tables 2, 3, 4 and 9", cross_architecture),
    "accuracy_prediction": ("GMN, tables 1 and 6, figures 5, 8", accuracy_prediction),
    "generalization": ("ScaleGMN, its table of predictors", generalization),
    "embeddings": ("SNE, figure 2", embeddings),
}
HERE = pathlib.Path(__file__).parent


def commands() -> dict[str, str]:
    """Every command below this folder: module -> the first line of its docstring."""
    lines = {}
    rooms = sorted(HERE.glob("[bm]*/*.py")) + sorted(HERE.glob("*/__main__.py"))
    for path in sorted(HERE.glob("*.py")) + rooms:
        text = path.read_text()
        if '__name__ == "__main__"' in text and path != HERE / "__main__.py":
            module = ".".join(path.relative_to(HERE.parent).with_suffix("").parts)
            module = module.removesuffix(".__main__")
            lines[module] = (ast.get_docstring(ast.parse(text)) or "").splitlines()[0]
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the list; or runs the command that is named first, with the other arguments.

    Raises:
        SystemExit: there is no such command.
    """
    words = commands()
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name not in ("-h", "--help"):
        if (module := f"experiments.{name.removeprefix('experiments.')}") not in words:
            names = ", ".join(x.removeprefix("experiments.") for x in words)
            raise SystemExit(f"expected one of {names}, or nothing to list them, got {name!r}")
        if (HERE.parent / module.replace(".", "/")).is_dir():
            module += ".__main__"
        importlib.import_module(module).main(rest)
        return
    for name, (table, experiment) in EXPERIMENTS.items():
        print(f"python -m experiments.{name}    {table}")
        print(f"    {words.pop(f'experiments.{name}')}")
        for preset, settings in experiment.PRESETS.items():
            print(f"    --preset {preset:8} {settings.cost}; methods {', '.join(settings.methods)}")
    for module, first in words.items():
        print(f"python -m {module}\n    {first}")


if __name__ == "__main__":
    cli.run(main)
