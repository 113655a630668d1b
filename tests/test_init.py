"""Names of `wsjax` that are imported when they are used, in fresh processes."""

import ast
import json
import os
import pathlib
import subprocess
import sys

import pytest

import wsjax

ROOT = pathlib.Path(__file__).parent.parent
LARGE = (
    *("jax", "flax", "orbax", "scipy", "sklearn", "pandas", "matplotlib", "h5py", "rich"),
    *("tensorflow", "torch", "click", "crepes", "jinja2"),
)


def loaded(program, *args):
    """Which large packages a program imports."""
    text = f"""
import json, sys
try:
    {program}
except SystemExit as ended:
    assert not ended.code, ended.code
names = {{name.split(".")[0] for name in sys.modules}}
print(json.dumps(sorted(names & {set(LARGE)!r})), file=sys.stderr)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", text, *args]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stderr.splitlines()[-1])


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("import wsjax", []),
        ("import wsjax; dir(wsjax)", []),
        ("import wsjax; assert wsjax.__version__", []),
        ("import wsjax; wsjax.load", []),
        ("import wsjax.files", []),
        ("import wsjax.inspection", []),
        ("import wsjax; wsjax.recognize", ["jax"]),
        ("from wsjax.cli.main import main; main(['--help'])", ["click"]),
        ("from wsjax.cli.main import main; main(['inspect', '--help'])", ["click"]),
        ("from wsjax.cli.main import main; main(['verify', '--help'])", ["click"]),
    ],
)
def test_no_more_is_imported_than_is_used(program, expected):
    assert loaded(program) == expected


def test_every_name_is_there():
    for name in wsjax.__all__:
        assert getattr(wsjax, name) is not None, name
    assert {*wsjax.__all__, "architectures", "files", "zoos"} <= set(dir(wsjax))
    assert wsjax.fit.__module__ == "wsjax.tasks.fitting"


def test_packages_are_attributes():
    assert wsjax.architectures.forward is wsjax.forward
    assert wsjax.views.__name__ == "wsjax.views"


def test_other_names_are_an_error():
    with pytest.raises(AttributeError, match="has no attribute 'fitt'"):
        _ = wsjax.fitt
    with pytest.raises(ImportError, match="fitt"):
        from wsjax import fitt  # noqa: F401
    assert not hasattr(wsjax, "__wrapped__")


def test_type_checkers_see_the_names_that_are_imported():
    (block,) = (
        node
        for node in ast.parse(pathlib.Path(wsjax.__file__).read_text()).body
        if isinstance(node, ast.If)
    )
    homes = {
        alias.name: node.module.removeprefix("wsjax.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert homes == wsjax._HOMES
    assert {*homes, "__version__"} == set(wsjax.__all__)
