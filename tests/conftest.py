"""The test session is stricter than use; fixtures come from `corner_cases`.

Types must agree (strict promotion) except in tests marked `trains`: Optax's Adam raises
a float to an integer power. Ranks may differ: batch axes in front are the convention of
this library, and a bias of rank one is added to them. Warnings are errors, see pyproject.

XLA's optimisations are mostly off; `--optimised` runs the tests marked so with all of them.
"""

import os

import jax
import pytest
from cases.corner_cases import MOVABLE, SPECS

os.environ.pop("COLUMNS", None)  # of pytest-xdist; commands write as into a pipe


def pytest_addoption(parser):
    about = "run the tests marked `optimised`, with XLA's optimisations as in use"
    parser.addoption("--optimised", action="store_true", help=about)


def pytest_configure(config):
    config.addinivalue_line("markers", "trains: runs Optax, so types promote as in use")
    config.addinivalue_line("markers", "optimised: runs with --optimised, and only then")
    # Kept between sessions: most of a session's time is compilation.
    if hasattr(config, "cache"):
        # One for each process of the session: entries are not written atomically.
        worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
        jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir(f"jax-{worker}")))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # An accelerator's default multiplies float32 in fewer bits than our tolerances.
    jax.config.update("jax_default_matmul_precision", "float32")
    if config.option.optimised:
        return
    # Most of the rest is LLVM, and the MLIR before it of every fusion, for programs that run
    # for less time than it takes. What XLA does before that stays as in use.
    jax.config.update("jax_disable_most_optimizations", True)
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"  # of processes that tests start
    flags = (
        "--xla_cpu_parallel_codegen_split_count=1",
        "--xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters",
    )
    os.environ["XLA_FLAGS"] = " ".join((*flags, os.environ.get("XLA_FLAGS", "")))


def pytest_collection_modifyitems(config, items):
    kinds = {True: [], False: []}
    for item in items:
        kinds[item.get_closest_marker("optimised") is not None].append(item)
    items[:] = kinds[config.option.optimised]
    config.hook.pytest_deselected(items=kinds[not config.option.optimised])


@pytest.fixture(autouse=True)
def promotion(request):
    strict = request.node.get_closest_marker("trains") is None
    with jax.numpy_dtype_promotion("strict" if strict else "standard"):
        yield


@pytest.fixture(scope="module", autouse=True)
def programs():
    """Lets go of a module's compiled programs at its end; the next has use for few of them."""
    yield
    jax.clear_caches()


def cases(specs):
    return [pytest.param(spec, id=name.replace(" ", "_")) for name, spec in specs.items()]


@pytest.fixture(params=cases(SPECS))
def spec(request):
    """Every hard network."""
    return request.param


@pytest.fixture(params=cases(MOVABLE))
def movable(request):
    """Those with a hidden axis of two neurons or more."""
    return request.param
