"""Functions of one network: what an encoder, an editor or a trained result makes of it.

    embedding(encoder.bind(variables), spec)      params, spec -> embedding, an array
    embedding(trained, spec)                      the same
    edit(editor(encoder).bind(variables), spec)   params, spec -> edited params

A *bound* module is Flax's module with its variables. It receives networks as they are; a
`Trained` normalises them first. `wsjax.testing` takes each of these where it takes a function.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from wsjax import networks
from wsjax.encoders import Editor, Encoder
from wsjax.networks import Params, Spec
from wsjax.tasks.base import Trained
from wsjax.tasks.editing import TrainedEditor

Embed = Callable[..., jax.Array] | Encoder | Trained  # params -> array, or params, spec -> array
Edit = Callable[..., Params] | Editor | TrainedEditor  # likewise to arrays of the same names


def embedding(of: Embed, spec: Spec) -> Callable[[Params, Spec], Any]:
    """The embedding of one network, params, spec -> an array.

    Args:
        of: a function of `params`, or of `params, spec`; an encoder bound to its variables; or a
            trained result. One that supports a single architecture raises a ValueError for any
            but `spec`.
        spec: the architecture of the function of `params`, or of the variables.

    Raises:
        ValueError: the encoder is not bound to variables.
        TypeError: this is none of these.

    >>> from wsjax import architectures, encoders, testing
    >>> spec, encoder = architectures.mlp([1, 4, 1]), encoders.MLP(widths=(), code=3)
    >>> params, view = testing.draw(jax.random.key(0), spec), encoder.view(spec)
    >>> variables = encoder.init(jax.random.key(1), networks.ravel(params, spec)[None], view)
    >>> embedding(encoder.bind(variables), spec)(params, spec).shape
    (3,)
    """
    if isinstance(of, Trained):
        return of.encode
    if isinstance(of, Encoder):
        return _of_bound(of, spec, of.reads_any)
    one = _of_function(of, spec, "encode", "an encoder bound to its variables or a Trained")

    def run(params, spec):
        if not hasattr(array := one(params, spec), "shape"):
            raise TypeError(f"expected an embedding that is an array, got {type(array).__name__}")
        return array

    return run


def edit(of: Edit, spec: Spec) -> Callable[[Params, Spec], Any]:
    """The edit of one network, params, spec -> arrays of the same names; as `embedding`."""
    if isinstance(of, TrainedEditor):
        return of.edit
    if isinstance(of, Editor):
        run = _of_bound(of, spec, of.encoder.reads_any)
        return lambda params, spec: networks.unravel(run(params, spec), spec)
    return _of_function(of, spec, "edit", "an editor bound to its variables or a TrainedEditor")


def _of_bound(of: Encoder | Editor, spec: Spec, reads_any: bool):
    if of.scope is None:
        name = type(of).__name__
        raise ValueError(f"expected a module with variables, `module.bind(variables)`, got {name}")
    module, variables = of.unbind()

    @functools.partial(jax.jit, static_argnums=2)
    def run(variables, params, spec):
        vectors = networks.ravel(params, spec)[None]
        return module.apply(variables, vectors, module.view(spec))[0]

    def one(params, other):
        if not reads_any and other != spec:
            raise ValueError("the encoder is fixed to one architecture")
        return run(variables, params, other)

    return one


def _of_function(of: Any, spec: Spec, word: str, others: str):
    if isinstance(of, type | nn.Module | Trained) or not callable(of):
        came = f"the class {of.__name__}" if isinstance(of, type) else type(of).__name__
        raise TypeError(f"expected a function {word}(params), {others}, got {came}")
    if len(required(of)) > 1:
        return of

    def one(params, other):
        if other != spec:
            raise ValueError(f"a function of params alone; {word}(params, spec) is for several")
        return of(params)

    return one


def required(function: Callable) -> list[str]:
    """The names of the positional arguments that a function has no defaults for."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # some functions written in C have none
        return ["params"]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in positional and p.default is p.empty]
