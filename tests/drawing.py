"""Networks and variables for tests of encoders: nothing is compiled to draw them."""

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import networks


def shaken(module, *inputs):
    """Variables none of which is zero or one by its initialiser."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs))
    rng = np.random.default_rng(1)

    def draw(path, x):
        scale = jax.tree_util.keystr(path[-1:]).endswith("scale']")
        size = 1 / np.sqrt(x.shape[-2]) if x.ndim > 1 else 0.3
        return jnp.asarray(size * rng.standard_normal(x.shape) + scale, jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def vector_of(spec, dtype=np.float32):
    """A network, [entry]."""
    return np.random.default_rng(2).standard_normal(spec.count).astype(dtype)


def params_of(spec, dtype=np.float32):
    """The same, as named arrays."""
    return dict(networks.unravel(vector_of(spec, dtype), spec))


def reader(encoder, spec, dtype=np.float32):
    """params -> what the module makes of them."""
    view = getattr(encoder, "encoder", encoder).view(spec)
    variables = shaken(encoder, jnp.zeros((1, spec.count)), view)
    run = jax.jit(lambda x: encoder.apply(variables, x[None], view)[0])
    return lambda p: run(np.asarray(networks.ravel(p, spec), dtype))
