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
# package of wsjax -> packages of wsjax that it may import; a package may import itself
MAY_IMPORT = {
    "checks": set(),
    "networks": {"checks"},
    "metrics": set(),
    "storage": set(),
    "files": set(),
    "datasets": {"storage"},
    "training": {"storage"},
    "views": {"networks"},
    "architectures": {"checks", "networks", "views"},
    "symmetries": {"checks", "networks", "views", "architectures"},
    "testing": {"networks", "views", "symmetries", "encoders"},
    "encoders": {"checks", "networks", "views", "architectures", "symmetries"},
    "zoos": {"networks", "storage", "architectures", "datasets", "training"},
    "tasks": {
        *("networks", "metrics", "storage", "views", "symmetries"),
        *("encoders", "zoos", "training"),
    },
}
# folder of experiments -> folders it may import; "" is the tables of the papers
EXPERIMENTS = {"lib": set(), "benchmarks": {"lib"}, "make": {"lib", "benchmarks"}, "": {"lib"}}
HEAVY = {"tensorflow_datasets", "tensorflow", "torch", "sklearn", "matplotlib", "tensorboardX"}
AT_ROOT = {
    *("pyproject.toml", "README.md", "LICENSE", "CITATION.cff", "requirements-cuda.txt"),
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


def package(parts):
    """The package of wsjax that a module lies in, as a key of `MAY_IMPORT`."""
    return parts[0].removesuffix(".py") if parts else ""


@pytest.mark.parametrize("path", sources("wsjax"))
def test_imports_point_downwards(path):
    module = package(path.relative_to(ROOT / "wsjax").parts)
    assert module == "__init__" or module in MAY_IMPORT, f"add {module!r} to MAY_IMPORT"
    for head, name in imported(path):
        assert head == "wsjax", f"wsjax must not know {head}"
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


@pytest.mark.parametrize("path", sources("experiments"))
def test_experiments_import_their_library_alone(path):
    parts = path.relative_to(ROOT / "experiments").parts
    folder = parts[0] if len(parts) > 1 else ""
    if path.stem in ("__main__", "report"):  # which list them
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
    lines, most = len(path.read_text().splitlines()), LINES + 50 * ("tests" in path.parts)
    assert lines <= most, f"{lines} lines, expected at most {most}"


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
