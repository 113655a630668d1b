"""Every encoder on every architecture: how far its embedding moves, and when it should.

    python tests/battery.py                prints the table, in ten minutes
    python tests/battery.py gmn grit       of these encoders alone

A cell holds two figures: how far permuting hidden neurons moves the embedding, which should be
rounding, and how little the least felt of all tears moves it (see `wsjax.testing`), which
should not. Views are stacked, so that an encoder compiles once for all architectures.
"""

import dataclasses
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from cases.corner_cases import FORWARDS, MOVABLE
from cases.encoders import EXAMPLES
from cases.families import FAMILIES

from wsjax import architectures, networks, testing
from wsjax.networks import Params, Spec
from wsjax.symmetries import permutations
from wsjax.views import padding

EXACT = ("gmn", "grit", "neural_graph", "scalegmn")  # invariant by construction, and to no more
FUNCTION = "the function"
KEY = jax.random.key(0)


def _cases():
    """name -> (spec, forward of one network on a few inputs)."""
    found = {}
    for name, spec in MOVABLE.items():
        x = jax.random.normal(jax.random.key(1), (8, 60))
        found[f"case: {name}"] = spec, lambda p, f=FORWARDS[name], x=x: jax.vmap(f, (None, 0))(p, x)
    for name, (spec, shape) in FAMILIES.items():
        x = jax.random.normal(jax.random.key(1), (8, *shape))
        found[name] = spec, lambda p, x=x, s=spec: architectures.forward(p, x, s)
    return found


CASES = _cases()


@dataclasses.dataclass(frozen=True)
class Readers:
    """An encoder, and how to encode the networks it can read.

    Attributes:
        encode: architecture -> (params -> embedding [width]).
        refused: architecture -> why.
    """

    encode: dict[str, Callable[[Params], jax.Array]]
    refused: dict[str, str]


def readers(encoder) -> Readers:
    """Prepares an encoder for every architecture; one program for all if it mixes them."""
    views, refused = {}, {}
    for name, (spec, _) in CASES.items():
        try:
            views[name] = encoder.view(spec)
        except ValueError as error:
            refused[name] = str(error).splitlines()[0]
    width = padding.rounded(max(CASES[name][0].count for name in views))
    if encoder.mixes:
        stacked = encoder.stack(list(views.values()))
        views = {n: jax.tree.map(lambda x, i=i: x[i : i + 1], stacked) for i, n in enumerate(views)}
        view = next(iter(views.values()))
        variables = testing.noisy_variables(encoder, jnp.zeros((1, width)), view, KEY)
        run = jax.jit(lambda vector, view: encoder.apply(variables, vector[None], view)[0])
        start = lambda name: (
            lambda vector: run(jnp.pad(vector, (0, width - vector.size)), views[name])
        )
    else:

        def start(name):
            view, count = views[name], CASES[name][0].count
            variables = testing.noisy_variables(encoder, jnp.zeros((1, count)), view, KEY)
            return jax.jit(lambda vector: encoder.apply(variables, vector[None], view)[0])

    encode = {}
    for name in views:
        try:
            run_one, spec = start(name), CASES[name][0]
        except ValueError as error:  # some see only then that they cannot read it
            refused[name] = str(error).splitlines()[0]
            continue
        encode[name] = lambda p, f=run_one, s=spec: f(networks.ravel(p, s))
    return Readers(encode, refused)


def errors(encode: Callable[[Params], jax.Array], spec: Spec) -> tuple[float, float]:
    """How far a permutation moves an embedding, and how far the least felt tear does; relative."""
    params = testing.draw(jax.random.key(0), spec)
    code = np.asarray(encode(params), np.float64)
    size = np.abs(code).max()
    moved = lambda p: float(np.abs(np.asarray(encode(p), np.float64) - code).max() / size)
    element = testing.derange(jax.random.key(2), params, spec)
    torn = [moved(p) for _, _, p in testing.misalignments(params, spec)]
    return moved(permutations.act(element, params, spec)), min(torn)


def main(names: list[str]) -> None:
    """Prints the table, and who reads what."""
    found = {FUNCTION: Readers({n: f for n, (_, f) in CASES.items()}, {})}
    found |= {
        name: readers(encoder) for name, encoder in EXAMPLES.items() if name in (names or EXAMPLES)
    }
    print("architecture".ljust(42), *(n.rjust(16) for n in found))
    worst = {name: [0.0, np.inf] for name in found}
    for case, (spec, _) in CASES.items():
        cells = []
        for name, reader in found.items():
            if case in reader.refused:
                cells.append("cannot read".rjust(16))
                continue
            law, tear = errors(reader.encode[case], spec)
            worst[name] = [max(worst[name][0], law), min(worst[name][1], tear)]
            cells.append(f"{law:.0e} {tear:.0e}".rjust(16))
        print(case.ljust(42), *cells, flush=True)
    print("worst".ljust(42), *(f"{a:.0e} {b:.0e}".rjust(16) for a, b in worst.values()))
    for name, reader in found.items():
        for case, why in reader.refused.items():
            print(f"{name} cannot read {case}: {why}")


if __name__ == "__main__":
    main(sys.argv[1:])
