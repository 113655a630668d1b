"""What is printed of values that hold arrays: short, and without their numbers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.encoders import EXAMPLES, SIREN

from wsjax import architectures, summaries, testing, training, zoos
from wsjax.datasets.images import Images
from wsjax.encoders import MLP
from wsjax.symmetries import permutations, scalings
from wsjax.tasks import base, regression, scaling
from wsjax.tasks.contrastive import Probe
from wsjax.zoos.inrs.image_folders import Folder

MOST = 500  # characters

VECTORS = np.arange(300 * SIREN.count, dtype=np.float32).reshape(300, -1)
ZOO = zoos.Zoo.of_spec(VECTORS, SIREN, {f"label_{i}": VECTORS[:, i] for i in range(40)})
ZOO = zoos.split(ZOO, {"train": 200, "validation": 50, "test": 50}, seed=0)


@dataclasses.dataclass(frozen=True)
class Mine(base.Trained):
    """A result of a task of one's own."""

    extra: np.ndarray | None = None


def trained(kind):
    encoder = MLP(widths=(64,))
    module = regression.Regression("label_0").module(encoder, (512,))
    shapes = jax.eval_shape(module.init, jax.random.key(0), VECTORS[:1], encoder.view(SIREN))
    variables = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    specs = (SIREN, architectures.mlp([1, 90, 1]))
    task = regression.Regression("label_0")
    scale, config = scaling.InputScale.fit(ZOO), {"a": "b" * 999}
    return kind(task, module, variables, scale, specs, {}, config, (512,))


def images(n=60):
    pixels, labels = np.zeros((n, 28, 28, 1), np.uint8), np.zeros(n, np.int32)
    return Images("digits", pixels, labels, pixels, labels, tuple(map(str, range(100))))


STATE = training.init_state({"kernel": jnp.zeros((30, 40))}, training.Settings())
THINGS = {
    "zoo": ZOO,
    "trained": trained(regression.TrainedRegression),
    "trained, of one's own": trained(Mine),
    "state": STATE,
    "result": training.FitResult({"a": VECTORS}, 0.1, {"a": VECTORS}, None, 1.0, 2, 0),
    "images": images(),
    "folder": Folder(VECTORS, None, ("cat",) * 300, ("cat/1.png",) * 300),
    "probe": Probe(VECTORS, VECTORS, VECTORS, VECTORS),
    "views": base.views(EXAMPLES["gmn"], [SIREN, architectures.mlp([1, 9, 1], "sin")]),
    "moves": permutations.moves(SIREN),
    "element": scalings.sample(jax.random.key(0), SIREN),
    **{name: encoder.view(SIREN) for name, encoder in EXAMPLES.items() if name != "inr2vec"},
}


@pytest.mark.parametrize("name", THINGS)
def test_a_summary_is_short(name):
    if not isinstance(THINGS[name], np.ndarray):  # which NumPy prints
        text = repr(THINGS[name])
        assert len(text) <= MOST
        assert "array(" not in text.lower()


def test_summaries_say_what_matters():
    count = 64 * (SIREN.count + 1) + 65 * 32 + 33 * 512 + 513
    assert repr(THINGS["trained"]) == (
        f"TrainedRegression(regression of 'label_0', MLP, 2 architectures of {SIREN.count} to 271 "
        f"weights, {count:,} parameters)"
    )
    assert repr(THINGS["trained, of one's own"]).startswith("Mine(regression of 'label_0', MLP")
    assert repr(ZOO).startswith(
        f"Zoo(300 networks of 300 runs; 1 architecture of {SIREN.count} weights; "
        "splits train 200, validation 50, test 50; labels label_0, label_1"
    )
    assert repr(images()).startswith("Images(name='digits', train=uint8[60, 28, 28, 1], ")


def test_values():
    key = jax.random.key(0)
    assert summaries.value({"a": key, "b": (1, jnp.zeros(3))}) == (
        "{'a': key<fry>[], 'b': (1, float32[3])}"
    )
    assert summaries.value(("x",)) == "('x',)"
    assert summaries.value(testing.draw) == repr(testing.draw)
    assert summaries.cut("x" * 999) == "x" * summaries.LENGTH + "..."
