"""The shape of the repository: imports, sizes, documents, and which test covers which module.

python tests/test_repository.py     prints the packages, their imports and lines of code
"""

import ast
import collections
import doctest
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
# package of wsjax -> packages of wsjax that it may import; a package may import itself
MAY_IMPORT = {
    "checks": set(),
    "summaries": set(),
    "networks": {"checks"},
    "metrics": set(),
    "storage": set(),
    "packing": {"checks"},
    "settings": set(),
    "tracing": {"checks", "networks", "packing", "symmetries", "views"},
    "files": {"checks"},
    "datasets": {"checks", "storage", "summaries"},
    "training": {"checks", "storage", "summaries"},
    "views": {"networks", "summaries"},
    "architectures": {"checks", "networks", "views"},
    "symmetries": {"checks", "networks", "views", "architectures", "summaries"},
    "recognition": {
        *("checks", "files", "networks", "packing", "settings", "views", "architectures")
    },
    "testing": {"networks", "views", "symmetries", "encoders", "tasks"},
    "encoders": {"checks", "networks", "views", "architectures", "symmetries", "summaries"},
    "zoos": {
        *("checks", "networks", "storage", "architectures", "datasets", "training"),
        *("summaries", "files", "recognition", "symmetries"),
    },
    "tasks": {
        *("checks", "networks", "metrics", "storage", "views", "symmetries"),
        *("encoders", "zoos", "training", "summaries"),
    },
    "comparison": {
        *("checks", "storage", "files", "networks", "packing", "views", "architectures"),
        *("symmetries", "recognition"),
    },
    "predictors": {
        *("checks", "networks", "metrics", "storage", "encoders", "zoos", "tasks", "training"),
        *("files", "recognition", "settings"),
    },
    "maps": {"checks", "predictors", "storage", "symmetries", "tasks", "zoos"},
    "inr_folders": {"checks", "networks", "recognition", "tasks", "zoos"},
    "inspection": {
        *("checks", "files", "networks", "packing", "recognition", "settings", "symmetries")
    },
    "auditing": {"checks", "networks", "recognition", "symmetries", "tasks", "testing"},
    "cli": {
        *("auditing", "checks", "comparison", "encoders", "files", "inr_folders", "inspection"),
        *("maps", "predictors", "settings", "storage", "zoos"),
    },
    "__main__": {"cli"},
}
# folder of experiments -> folders it may import; "" is the tables of the papers
EXPERIMENTS = {"lib": set(), "benchmarks": {"lib"}, "make": {"lib", "benchmarks"}}
EXPERIMENTS |= {"faults": {"lib"}, "foreign_models": set(), "foreign_files": {"lib"}}
EXPERIMENTS |= {"": {"lib", "make", "foreign_models", "foreign_files"}}
HEAVY = {
    *("tensorflow_datasets", "tensorflow", "torch", "sklearn", "matplotlib", "tensorboardX"),
    *("h5py", "onnx", "crepes", "pandas"),
}
AT_ROOT = {
    *("pyproject.toml", "README.md", "LICENSE", "CITATION.cff", "requirements-cuda.txt"),
    *("wsjax", "experiments", "tests", "third_party"),
}
LINES = 450
README_LINES, README_WORDS = 250, 3500
# modules that no test in the mirrored folder imports -> the test that covers them
COVERED_BY = {
    "__main__.py": "tests/cli/test_main.py",
    "architectures/equivariant_bases.py": "tests/architectures/test_families.py",
    "architectures/layer_settings.py": "tests/architectures/test_families.py",
    "architectures/random_bits.py": "tests/zoos/classifiers/test_classifiers.py",
    "architectures/spec_builder.py": "tests/architectures/test_families.py",
    "architectures/training_forward.py": "tests/zoos/classifiers/test_classifiers.py",
    "cli/fit.py": "tests/cli/test_fit.py",
    "cli/predict.py": "tests/cli/test_fit.py",
    "cli/rank.py": "tests/cli/test_fit.py",
    "encoders/scalegmn/scale_layers.py": "tests/encoders/scalegmn/test_scale_layers.py",
    "encoders/scalegmn/scale_view.py": "tests/encoders/scalegmn/test_scalegmn.py",
    "files/folders.py": "tests/files/test_folders.py",
    "tracing/aten_layers.py": "tests/tracing/test_aten.py",
    "tracing/axes/atoms.py": "tests/tracing/axes/test_naming.py",
    "tracing/axes/indexing.py": "tests/tracing/axes/test_naming.py",
    "tracing/axes/interpreter.py": "tests/tracing/axes/test_naming.py",
    "tracing/axes/rules.py": "tests/tracing/axes/test_naming.py",
    "tracing/layers/assembly.py": "tests/tracing/layers/test_structure.py",
    "tracing/layers/dataflow.py": "tests/tracing/layers/test_structure.py",
    "tracing/layers/drafts.py": "tests/tracing/layers/test_structure.py",
    "tracing/layers/elementwise_rules.py": "tests/tracing/layers/test_structure.py",
    "tracing/layers/linear_rules.py": "tests/tracing/layers/test_structure.py",
    "tracing/layers/nodes.py": "tests/tracing/layers/test_structure.py",
    "tracing/layers/shape_rules.py": "tests/tracing/layers/test_structure.py",
    "tracing/loops.py": "tests/tracing/axes/test_naming.py",
    "tracing/verification.py": "tests/tracing/test_traced.py",
    "views/neurons.py": "tests/encoders/test_neural_graph.py",
    "views/wiring.py": "tests/architectures/test_families.py",
    "zoos/sines/sine_recipe.py": "tests/zoos/sines/test_sine.py",
}
# words that were this repository's own; papers say permute, predict, misaligned, phase shift, zoo
RETIRED = re.compile(
    r"renumber|\bjudg(e|es|ed|ing)\b|\btorn\b|\bhalf turns?\b|\bMixtures?\b|\btold\b|\bshown\b"
)
# JSON keys and notes of old records keep their names
KEYS_OF_RECORDS = {"experiments/lib/methods.py", "experiments/lib/tables.py"}


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


def package(parts):
    """The package of wsjax that a module lies in, as a key of `MAY_IMPORT`."""
    return parts[0].removesuffix(".py") if parts else ""


@pytest.mark.parametrize("path", sources("wsjax"))
def test_imports_point_downwards(path):
    module = package(path.relative_to(ROOT / "wsjax").parts)
    assert module == "__init__" or module in MAY_IMPORT, f"add {module!r} to MAY_IMPORT"
    for head, name in imported(path):
        assert head == "wsjax", f"wsjax must not import {head}"
        if module != "__init__":  # which exports the nouns
            allowed = MAY_IMPORT[module] | {module}
            assert name in allowed, f"{module} must not import wsjax.{name}"


def test_the_table_of_imports_has_no_cycle():
    done = set()
    while ready := {m for m in MAY_IMPORT if m not in done and MAY_IMPORT[m] <= done}:
        done |= ready
    assert done == set(MAY_IMPORT)


def test_the_table_of_imports_allows_no_more_than_is_used():
    used = {name: set() for name in MAY_IMPORT}
    for path in (ROOT / "wsjax").rglob("*.py"):
        module = package(path.relative_to(ROOT / "wsjax").parts)
        if module != "__init__":
            used[module] |= {name for _, name in imported(path)} - {module}
    assert used == MAY_IMPORT


def mentions(path):
    """Full names of all that a file imports, and of attributes it takes of them."""
    tree, local = ast.parse(path.read_text()), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            local |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            local |= {a.asname or a.name: a.name for a in node.names}
    names = set(local.values()) | {name.rpartition(".")[0] for name in local.values()}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names.add(f"{local.get(node.value.id)}.{node.attr}")
    return names


def exports():
    """Full name of what a package exports -> the module that defines it."""
    out = {}
    for path in (ROOT / "wsjax").rglob("__init__.py"):
        home = ".".join(path.parent.relative_to(ROOT).parts)
        for node in ast.walk(ast.parse(path.read_text())):  # also below TYPE_CHECKING
            if isinstance(node, ast.ImportFrom):
                out |= {f"{home}.{a.asname or a.name}": node.module for a in node.names}
    return out


def test_every_module_has_a_test_in_the_mirrored_folder():
    exported, covered = exports(), collections.defaultdict(set)  # folder of tests -> modules
    for path in sorted((ROOT / "tests").rglob("*.py")):
        names = mentions(path)
        room = path.relative_to(ROOT / "tests").parts[:-1][:1]
        covered[room] |= names | {exported[name] for name in names & set(exported)}
    alone = set()
    for path in sorted((ROOT / "wsjax").rglob("*.py")):
        parts = path.relative_to(ROOT / "wsjax").parts
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if path.name != "__init__.py" and module not in covered[parts[:-1][:1]]:
            alone.add("/".join(parts))
    assert alone == set(COVERED_BY), "bring COVERED_BY up to date"
    assert not [test for test in COVERED_BY.values() if not (ROOT / test).is_file()]


@pytest.mark.parametrize("path", sources("tests"))
def test_no_test_imports_another(path):
    tests = {p.stem for p in (ROOT / "tests").rglob("test_*.py")}
    for name in mentions(path):
        assert not tests & set(name.split(".")), f"{name}: shared code belongs into tests/cases"


@pytest.mark.parametrize("path", sources("experiments"))
def test_experiments_import_their_library_alone(path):
    parts = path.relative_to(ROOT / "experiments").parts
    folder = parts[0] if len(parts) > 1 else ""
    if path.stem in ("__main__", "report", "reproduce"):  # which list or run them
        return
    for head, name in imported(path):
        assert head != "tests"
        if head == "experiments":
            assert name in EXPERIMENTS[folder] | ({folder} - {""}), f"{folder} imports {name}"


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


def test_every_folder_of_modules_is_a_package():
    for folder in ("wsjax", "experiments", "third_party"):
        for path in (ROOT / folder).rglob("*.py"):
            assert (path.parent / "__init__.py").exists(), path


def test_only_wsjax_is_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["packages"]["find"]["include"] == ["wsjax*"]


def test_the_root_holds_nothing_else():
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    entries = {line.split("/")[0] for line in files.splitlines()}
    assert {e for e in entries if not e.startswith(".")} <= AT_ROOT


def documents():
    """Every README and citation file."""
    return [*ROOT.glob("CITATION.cff"), *(p for p in ROOT.rglob("README.md") if seen(p))]


def seen(path):
    return not any(part.startswith(".") for part in path.relative_to(ROOT).parts)


def test_the_readme_is_read_in_ten_minutes():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= README_LINES
    assert len(text.split()) <= README_WORDS


def test_links_in_documents_lead_somewhere():
    for path in documents():
        for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
            if not link.startswith(("http://", "https://", "#")):
                assert (path.parent / link.split("#")[0]).exists(), f"{path}: {link}"


def test_citation_and_package_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "CITATION.cff").read_text().splitlines()
    for key, value in {"version": project["version"], "license": project["license"]}.items():
        assert f"{key}: {value}" in lines


def test_words_are_the_fields():
    python = [p for f in ("wsjax", "experiments", "third_party") for p in (ROOT / f).rglob("*.py")]
    retired = []
    for path in sorted([*documents(), *python]):
        name = str(path.relative_to(ROOT))
        if name not in KEYS_OF_RECORDS:
            lines = enumerate(path.read_text().splitlines(), 1)
            retired += [f"{name}:{i}: {m[0]}" for i, x in lines if (m := RETIRED.search(x))]
    assert not retired, "\n".join(retired)


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


def test_types_are_shipped():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert (ROOT / "wsjax" / "py.typed").exists()
    assert "py.typed" in project["tool"]["setuptools"]["package-data"]["wsjax"]


def packages():
    """A Markdown table: packages, the packages each imports, lines of code."""
    cells = [("package", "imports", "lines"), ("---", "---", "---:")]
    for name in sorted(MAY_IMPORT, key=lambda name: len(closure(name))):
        home = ROOT / "wsjax" / name
        paths = home.rglob("*.py") if home.is_dir() else [home.with_suffix(".py")]
        cells.append((f"`wsjax.{name}`", ", ".join(sorted(MAY_IMPORT[name])), lines_of(paths)))
    for folder in ("experiments", "third_party", "tests"):
        paths = sorted((ROOT / folder).rglob("*.py"))
        others = {head for path in paths for head, _ in imported(path)} - {folder}
        cells.append((f"`{folder}`", ", ".join(sorted(others)), lines_of(paths)))
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def lines_of(paths):
    return f"{sum(len(path.read_text().splitlines()) for path in paths):,}"


def closure(name):
    """All packages that one imports, directly or not."""
    return MAY_IMPORT[name].union(*(closure(other) for other in MAY_IMPORT[name]))


if __name__ == "__main__":
    print(packages())
