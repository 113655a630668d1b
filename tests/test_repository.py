"""The shape of the repository, kept by a test rather than by memory."""

import ast
import doctest
import os
import pathlib
import shlex
import subprocess
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
MAY_IMPORT = {  # module of wsjax -> modules of wsjax it may import
    "networks": set(),
    "trigonometry": set(),
    "metrics": set(),
    "checkpoints": set(),
    "plots": {"graphs", "zoos"},
    "optimization": set(),
    "reporting": set(),
    "training": {"checkpoints", "metrics", "optimization", "reporting"},
    "architectures": {"networks", "trigonometry", "wiring", "architectures"},
    "wiring": {"networks"},
    "padding": set(),
    "graphs": {"networks", "wiring", "padding"},
    "automorphisms": {"networks", "wiring", "graphs", "symmetries"},
    "symmetries": {"networks"},
    "signals": {"networks", "wiring"},
    "scalings": {"networks", "signals"},
    "alignment": {"networks", "symmetries"},
    "chunks": {"networks", "padding"},
    "objectives": {"symmetries"},  # logit invariance renumbers
    "zoos": {"networks", "architectures", "trigonometry", "reporting", "zoos"},
    "inrs": {"networks", "architectures", "zoos"},
    "widening": {"networks", "wiring"},
    "auditing": {
        *("networks", "architectures", "scalings", "symmetries", "widening", "wiring"),
    },
    "testing": {"networks", "symmetries", "auditing"},
    "encoders": {
        *("networks", "architectures", "encoders", "padding"),
        *("chunks", "graphs", "signals", "wiring", "symmetries"),
        "objectives",  # HyperRep's own
    },
    "coordinates": {"networks"},
    "augmentations": {"networks", "coordinates", "scalings", "symmetries"},
    "reading": {"networks", "encoders", "checkpoints", "padding", "symmetries", "zoos"},
    "prediction": {
        *("networks", "zoos", "encoders", "reading"),
        *("objectives", "training", "checkpoints", "metrics"),
    },
    "classification": {
        *("networks", "symmetries", "augmentations", "zoos", "reading", "prediction"),
        *("training", "checkpoints", "metrics"),
    },
    "editing": {
        *("networks", "augmentations", "encoders", "zoos", "inrs", "reading"),
        *("training", "checkpoints"),
    },
    "contrastive": {
        *("networks", "symmetries", "augmentations", "zoos", "reading", "prediction"),
        *("objectives", "training", "checkpoints", "metrics"),
    },
}
SHARED = {
    "records",
    "commands",
    "judging",
    "baselines",
    "judging_tables",
    "zoo_loading",
    "zoo_recipes",
    "inr_zoo",
    "inr_presets",
    "torch_classifiers",
    "inr_tasks",
    "inr_tables",
}  # what experiments may import of each other
HEAVY = {"tensorflow_datasets", "tensorflow", "torch", "sklearn", "matplotlib", "tensorboardX"}
AT_ROOT = {
    *("pyproject.toml", "README.md", "LICENSE", "requirements-cuda.txt"),
    *("wsjax", "experiments", "tests", "third_party"),
}
LINES = 450


def sources(*folders):
    paths = [p for f in folders for p in sorted((ROOT / f).rglob("*.py"))]
    assert paths, f"no Python files under {folders}"
    return [pytest.param(p, id=str(p.relative_to(ROOT))) for p in paths]


def imported(path):
    """(package, module) of every import of ours; the module of `import wsjax` is ''."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names = [f"{node.module}.{a.name}" for a in node.names]
        for name in names:
            head, *rest = name.split(".")
            if head in ("wsjax", "experiments", "third_party", "tests"):
                yield head, rest[0] if rest else ""


@pytest.mark.parametrize("path", sources("wsjax"))
def test_imports_point_downwards(path):
    module = path.relative_to(ROOT / "wsjax").parts[0].removesuffix(".py")
    assert module == "__init__" or module in MAY_IMPORT, f"add {module!r} to MAY_IMPORT"
    for package, name in imported(path):
        assert package == "wsjax", f"wsjax must not know {package}"
        assert name in MAY_IMPORT.get(module, set()), f"{module} must not import wsjax.{name}"


def test_the_table_of_imports_has_no_cycle():
    done = set()
    while ready := {m for m in MAY_IMPORT if m not in done and MAY_IMPORT[m] <= done | {m}}:
        done |= ready
    assert done == set(MAY_IMPORT)


@pytest.mark.parametrize("path", sources("experiments"))
def test_experiments_do_not_know_each_other(path):
    if path.stem != "__main__":  # which lists them
        for package, name in imported(path):
            readers = package == "third_party"  # of published zoos
            assert package == "wsjax" or readers or (package == "experiments" and name in SHARED)


def test_imports_are_light():
    """Of every module of wsjax, in one fresh process; the first to load a package is named."""
    modules = []
    for path in sorted((ROOT / "wsjax").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        modules.append(".".join(parts).removesuffix(".__init__"))
    assert "wsjax" in modules
    assert "wsjax.encoders" in modules
    program = f"""
import importlib, sys
for module in {modules}:
    importlib.import_module(module)
    if found := {HEAVY} & set(sys.modules):
        sys.exit(f"importing {{module}} imports {{sorted(found)}}")
"""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr[-2000:]


@pytest.mark.parametrize("path", sources("wsjax", "experiments", "third_party", "tests"))
def test_files_can_be_read_in_one_sitting(path):
    lines = len(path.read_text().splitlines())
    assert lines <= LINES, f"{lines} lines, expected at most {LINES}"


@pytest.mark.parametrize("path", sources("wsjax"))
def test_everything_public_is_documented(path):
    tree = ast.parse(path.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    silent = [] if ast.get_docstring(tree) else ["the module"]
    for node in tree.body:
        public = isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        for x in (node, *(node.body if public else ())):
            if isinstance(x, kinds) and not x.name.startswith("_") and not ast.get_docstring(x):
                silent.append(f"{x.name} (line {x.lineno})")
    assert not silent, f"no docstring: {', '.join(silent)}"


def test_every_package_is_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = project["tool"]["setuptools"]["packages"]
    found = [
        ".".join(init.parent.relative_to(ROOT).parts)
        for folder in ("wsjax", "experiments", "third_party")
        for init in (ROOT / folder).rglob("__init__.py")
    ]
    assert sorted(listed) == sorted(found)


def test_the_root_holds_nothing_else():
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    entries = {line.split("/")[0] for line in files.splitlines()}
    assert {e for e in entries if not e.startswith(".")} <= AT_ROOT


def test_the_readmes_code_runs():
    failed, attempted = doctest.testfile(
        str(ROOT / "README.md"), module_relative=False, encoding="utf-8"
    )
    assert failed == 0
    assert attempted > 5


def test_ci_runs_what_the_readme_says():
    readme = (ROOT / "README.md").read_text().splitlines()
    commands = [line.strip() for line in readme if line.strip().startswith("python3 -m venv")]
    assert len(commands) == 2, "expected the README to give two commands"
    assert commands[1] in (ROOT / ".ci" / "run").read_text().splitlines()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "pytest" in shlex.split(commands[1])
