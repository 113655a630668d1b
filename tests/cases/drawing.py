"""Networks and variables for tests of encoders, by NumPy: nothing is compiled to draw them."""

import math
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import networks


def shaken(module, *inputs):
    """Variables none of which is zero or one by its initialiser; of one name, the same."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs))

    def draw(path, x):
        name = jax.tree_util.keystr(path)
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        ones = x.ndim == 1 and name.endswith(("scale']", "gamma']"))
        size = 1 / math.sqrt(x.shape[-2]) if x.ndim > 1 else 0.3
        return jnp.asarray(size * rng.standard_normal(x.shape) + ones, x.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def vector_of(spec, dtype=np.float32):
    """A network, [entry]."""
    return np.random.default_rng(2).standard_normal(spec.count).astype(dtype)


def params_of(spec, dtype=np.float32):
    """The same, as named arrays."""
    return dict(networks.unravel(vector_of(spec, dtype), spec))


def draw(spec, batch=(), dtype=np.float32, seed=7):
    """As `testing.draw`: of variance 1 / fan-in, and variances positive."""
    rng, out = np.random.default_rng(seed), {}
    for a in spec.arrays:
        shape = spec.shape(a)
        array = rng.standard_normal((*batch, *shape))
        array /= math.sqrt(math.prod(shape[k] for k in (*a.reads, *a.taps)))
        out[a.name] = (np.abs(array) if a.role == "variance" else array).astype(dtype)
    return out


def raveled(params, spec, dtype=np.float32):
    """As `networks.ravel`, of any arrays."""
    return networks.ravel({k: np.asarray(x, dtype) for k, x in params.items()}, spec)


def reader(encoder, spec, dtype=np.float32):
    """params -> what the module makes of them."""
    view = getattr(encoder, "encoder", encoder).view(spec)
    variables = shaken(encoder, np.zeros((1, spec.count), dtype), view)
    run = jax.jit(lambda v, x: encoder.apply(v, x[None], view)[0])
    return lambda p: np.asarray(run(variables, raveled(p, spec, dtype)))
