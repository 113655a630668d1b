"""Parameters of the papers' accuracy predictors, ours beside the published counts.

    python -m experiments.report        renders them into experiments/README.md

Counted by `jax.eval_shape`, which compiles nothing.
"""

import functools
import pathlib
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from experiments.lib import published_predictors, tables
from experiments.lib.methods import Method
from wsjax import architectures
from wsjax.networks import Spec
from wsjax.tasks.regression import Regression

SPECS = {  # of the family `conv3-gap`, 4,970 parameters
    activation: architectures.cnn(
        [1, 16, 16, 16], [10], stride=2, padding="VALID", activation=activation
    )
    for activation in ("relu", "tanh")
}


def parameters(method: Method, spec: Spec) -> int:
    """The number of trained parameters of a method that predicts a label, with its head."""
    encoder = method.build()
    module, view = Regression("label").module(encoder, method.head), encoder.view(spec)
    initial = lambda key: module.init(key, jnp.zeros((1, spec.count)), view)
    params = jax.eval_shape(initial, jax.random.key(0)).get("params", {})
    return sum(x.size for x in jax.tree.leaves(params))


@functools.cache
def counts() -> Mapping[str, int]:
    """Parameters of each of `published_predictors.named`."""
    spec = lambda method: SPECS["tanh" if method.settings.get("symmetry") == "sign" else "relu"]
    named = published_predictors.named()
    return {name: parameters(method, spec(method)) for name, method in named.items()}


def table(_: pathlib.Path | None = None) -> str:
    """The table: method, our parameters, the paper's, and their difference."""
    lines = {}
    for name, ours in counts().items():
        lines[f"`{name}`"] = cells = {"parameters": f"{ours:,}"}
        if theirs := published_predictors.PARAMETERS.get(name):
            about = "about " * (theirs == published_predictors.ABOUT)
            cells |= {"published": f"{about}{theirs:,}", "difference": f"{ours / theirs - 1:+.1%}"}
    return tables.pivot(lines, "method")


TABLES = {"predictor_sizes": table}
