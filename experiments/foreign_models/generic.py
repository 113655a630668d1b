"""Generic parameters: no zeros, no ones, no two equal, so that a wrong permutation changes outputs.

A model is three things:

    apply, params, inputs = linen(MLP(), normal(2, 5))
    apply(params, *inputs)

Parameters are made from shapes alone, without running an initialiser.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

Case: TypeAlias = tuple[Callable[..., Any], Any, tuple[Any, ...]]  # apply, params, inputs

SCALES = ("scale", "weight", "gamma")  # where they have one axis


def linen(module: nn.Module, *inputs: Any) -> Case:
    """A Flax Linen module with generic variables."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    return module.apply, generic(shapes), inputs


def generic(shapes: Any, seed: int = 0) -> Any:
    """Arrays of the shapes and types of a tree.

    Kernels [*, out] are normal with variance one over their fan-in, scales and variances lie
    above one, all else is normal of standard deviation .3. Integers are zero.
    """
    rng = np.random.default_rng(seed)
    fill = lambda path, leaf: jnp.asarray(_array(rng, jax.tree_util.keystr(path), leaf), leaf.dtype)
    return jax.tree_util.tree_map_with_path(fill, shapes)


def _array(rng, name, leaf):
    if not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return np.zeros(leaf.shape)
    x = rng.standard_normal(leaf.shape, np.float32)
    if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
        x = x + 1j * rng.standard_normal(leaf.shape, np.float32)
    scale = len(leaf.shape) < 2 and any(word in name.rpartition("[")[2] for word in SCALES)
    if scale or "var" in name:
        return 1 + 0.3 * np.abs(x)
    return x / np.sqrt(np.prod(leaf.shape[:-1])) if len(leaf.shape) > 1 else 0.3 * x


def normal(*shape: int, seed: int = 1) -> jax.Array:
    """Inputs of a standard normal distribution."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


def tokens(*shape: int, vocabulary: int, seed: int = 1) -> jax.Array:
    """Inputs that are indices."""
    return jnp.asarray(np.random.default_rng(seed).integers(0, vocabulary, shape), jnp.int32)
