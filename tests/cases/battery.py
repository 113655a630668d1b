"""Every encoder on every architecture: how far its embedding moves, and when it should.

    PYTHONPATH=.:tests python tests/cases/battery.py            prints the table, in ten minutes
    PYTHONPATH=.:tests python tests/cases/battery.py gmn grit   of these encoders alone

A cell holds two figures: how far permuting hidden neurons moves the embedding, which should be
rounding, and how far the least effective misalignment moves it (see `wsjax.testing`), which
should not be. `encodings` takes any encoder. Views are stacked, so that an encoder compiles once
for all architectures.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from cases.corner_cases import FORWARDS, MOVABLE
from cases.encoders import EXAMPLES
from cases.families import FAMILIES

from wsjax import architectures, networks, testing
from wsjax.encoders import Encoder
from wsjax.networks import Params, Spec
from wsjax.symmetries import permutations
from wsjax.views import padding

EXACT = ("gmn", "grit", "neural_graph", "scalegmn")  # invariant by construction, and to no more
FUNCTION = "the function"
KEY = jax.random.key(0)


def _cases():
    """name -> (spec, forward of one network on a few inputs)."""
    out = {}
    for name, spec in MOVABLE.items():
        x = jax.random.normal(jax.random.key(1), (8, 60))
        out[f"case: {name}"] = spec, lambda p, f=FORWARDS[name], x=x: jax.vmap(f, (None, 0))(p, x)
    for name, (spec, shape) in FAMILIES.items():
        x = jax.random.normal(jax.random.key(1), (8, *shape))
        out[name] = spec, lambda p, x=x, s=spec: architectures.forward(p, x, s)
    return out


CASES = _cases()


@dataclasses.dataclass(frozen=True)
class Encodings:
    """Embeddings of the networks that an encoder supports.

    Attributes:
        encode: architecture -> (params -> embedding [width]).
        unsupported: architecture -> reason.
    """

    encode: dict[str, Callable[[Params], jax.Array]]
    unsupported: dict[str, str]


def encodings(encoder) -> Encodings:
    """Prepares an encoder for every architecture; one program for all if it mixes them."""
    views, unsupported = {}, {}
    for name, (spec, _) in CASES.items():
        try:
            views[name] = encoder.view(spec)
        except ValueError as error:
            unsupported[name] = str(error).splitlines()[0]
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
        except ValueError as error:  # some raise only then
            unsupported[name] = str(error).splitlines()[0]
            continue
        encode[name] = lambda p, f=run_one, s=spec: f(networks.ravel(p, s))
    return Encodings(encode, unsupported)


def errors(encode: Callable[[Params], jax.Array], spec: Spec) -> tuple[float, float]:
    """How far a permutation moves an embedding, and the least effective misalignment; relative."""
    params = testing.draw(jax.random.key(0), spec)
    embedding = np.asarray(encode(params), np.float64)
    size = np.abs(embedding).max()
    moved = lambda p: float(np.abs(np.asarray(encode(p), np.float64) - embedding).max() / size)
    element = testing.derange(jax.random.key(2), params, spec)
    controls = [moved(p) for _, _, p in testing.misalignments(params, spec)]
    return moved(permutations.act(element, params, spec)), min(controls)


def selected(names: Sequence[str]) -> dict[str, Encoder]:
    """The encoders of these names, in the order of `EXAMPLES`; all of them if there is no name.

    Raises:
        ValueError: there is no encoder of a name.
    """
    if unknown := sorted(set(names) - set(EXAMPLES)):
        raise ValueError(f"expected encoders of {', '.join(EXAMPLES)}; got {', '.join(unknown)}")
    return {name: encoder for name, encoder in EXAMPLES.items() if name in (names or EXAMPLES)}


def main(encoders: Mapping[str, Encoder]) -> None:
    """Prints the table, and what each encoder does not support."""
    methods = {FUNCTION: Encodings({n: f for n, (_, f) in CASES.items()}, {})}
    methods |= {name: encodings(encoder) for name, encoder in encoders.items()}
    print("architecture".ljust(42), *(n.rjust(16) for n in methods))
    worst = {name: [0.0, np.inf] for name in methods}
    for case, (spec, _) in CASES.items():
        cells = []
        for name, method in methods.items():
            if case in method.unsupported:
                cells.append("not supported".rjust(16))
                continue
            law, control = errors(method.encode[case], spec)
            worst[name] = [max(worst[name][0], law), min(worst[name][1], control)]
            cells.append(f"{law:.0e} {control:.0e}".rjust(16))
        print(case.ljust(42), *cells, flush=True)
    print("worst".ljust(42), *(f"{a:.0e} {b:.0e}".rjust(16) for a, b in worst.values()))
    for name, method in methods.items():
        for case, reason in method.unsupported.items():
            print(f"{name} does not support {case}: {reason}")


if __name__ == "__main__":
    try:
        chosen = selected(sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
    main(chosen)
