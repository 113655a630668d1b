"""What a hurried user gets wrong, in one table: each is an error of ours, and says what it is.

An error of NumPy, JAX or Flax would name a shape or an attribute, and not the mistake.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import tasks as cases

import wsjax
from wsjax import architectures, encoders, metrics, networks, tasks, testing, training, zoos
from wsjax.datasets import images
from wsjax.symmetries import audit, augmentations, matching, permutations, scalings, widening
from wsjax.tasks.classification import Classification
from wsjax.tasks.contrastive import Contrastive
from wsjax.tasks.editing import Canvas, Editing
from wsjax.tasks.regression import Objective, Regression
from wsjax.zoos import Zoo, store
from wsjax.zoos.classifiers import classifier_factory
from wsjax.zoos.classifiers.classifier_families import FAMILIES
from wsjax.zoos.inrs import inr_factory
from wsjax.zoos.inrs.inr_recipe import DWS
from wsjax.zoos.sines import sine

SPEC, WIDE = cases.SPEC, architectures.mlp([1, 8, 1], "tanh")
KEY, COUNT = jax.random.key(0), cases.SPEC.count
PARAMS = {name: np.asarray(x) for name, x in testing.draw(KEY, SPEC).items()}
VECTORS = np.arange(6 * COUNT, dtype=np.float32).reshape(6, COUNT)
LABELS = {"a": np.linspace(0, 1, 6, dtype=np.float32)}
ZOO = Zoo.of_spec(VECTORS, SPEC, LABELS)
X = np.ones((3, 1), np.float32)
MLP = encoders.MLP(widths=(4,), code=2)
TRANSPOSED = PARAMS | {"Dense_0/kernel": PARAMS["Dense_0/kernel"].T}
TRAINED = tasks.regression.TrainedRegression(
    Regression("a"), None, {"params": {}}, tasks.InputScale.fit(ZOO), (SPEC,), {}, {}, ()
)


def zoo(vectors=VECTORS, spec=SPEC, labels=LABELS, **more):
    return Zoo.of_spec(vectors, spec, labels, **more)


def fit(zoo=ZOO, task="a", encoder=MLP, **more):
    return wsjax.fit(zoo, task, encoder, **more)


MISUSES = {
    # networks
    "spec and params swapped": (lambda: networks.check(SPEC, PARAMS), "spec: expected Spec"),
    "several specs": (lambda: networks.ravel(PARAMS, [SPEC]), "spec: expected Spec, got list"),
    "array missing": (lambda: networks.ravel({}, SPEC), "Dense_0/kernel: expected, absent"),
    "array too many": (lambda: networks.ravel(PARAMS | {"x": X}, SPEC), "x: not in the spec"),
    "array transposed": (
        lambda: networks.ravel(TRANSPOSED, SPEC),
        r"Dense_0/kernel: expected shape \[..., 1, 4\] .*, got \(4, 1\)",
    ),
    "array of lists": (
        lambda: networks.ravel(PARAMS | {"Dense_0/bias": [0.0]}, SPEC),
        "Dense_0/bias: expected an array, got list",
    ),
    "complex array": (
        lambda: networks.check(PARAMS | {"Dense_0/bias": np.ones(4) * 1j}, SPEC),
        "Dense_0/bias: expected real numbers, got complex128",
    ),
    "vector for params": (
        lambda: networks.ravel(VECTORS[0], SPEC),
        "named arrays.*, got ndarray",
    ),
    "params for vector": (lambda: networks.unravel(PARAMS, SPEC), "expected 13 param.*, got dict"),
    "JSON of no spec": (lambda: networks.from_json({}), "expected a Spec as JSON"),
    "lists in a spec": (lambda: networks.Spec([], (), ()), "layers: expected a tuple, got list"),
    "width and a half": (lambda: architectures.mlp([1, 1.5, 1]), "size of 1 or more, got 1.5"),
    "widths that are one": (lambda: architectures.mlp(3), "an input and an output width, got 3"),
    "omega as text": (lambda: architectures.mlp([1, 1], omega="30"), "finite omega, got '30'"),
    # the forward pass
    "x and spec swapped": (lambda: wsjax.forward(PARAMS, SPEC, X), "expected Spec, got ndarray"),
    "another spec": (lambda: wsjax.forward(PARAMS, X, WIDE), "Dense_0/bias: expected shape"),
    "several networks": (
        lambda: wsjax.forward({n: x[None] for n, x in PARAMS.items()}, X, SPEC),
        r"expected one network, `jax.vmap` for several; got batch axes \[1\]",
    ),
    "wide bias": (
        lambda: wsjax.forward(PARAMS | {"Dense_1/bias": np.ones(3)}, X, SPEC),
        r"Dense_1/bias: expected shape \[..., 1\] .*, got \(3,\)",
    ),
    "number for x": (lambda: wsjax.forward(PARAMS, 1.0, SPEC), "expected an input"),
    # zoos
    "one vector": (lambda: zoo(VECTORS[0]), r"expected vectors \[network, 13\], got \(13,\)"),
    "complex vectors": (lambda: zoo(VECTORS * 1j), "vectors: expected real numbers, got complex"),
    "texts as vectors": (lambda: zoo(VECTORS.astype(str)), "vectors: expected real numbers"),
    "specs of a zoo": (lambda: zoo(spec=[SPEC]), "spec: expected Spec, got list"),
    "labels without a name": (lambda: zoo(labels=LABELS["a"]), "labels: expected Mapping"),
    "labels as text": (lambda: zoo(labels={"a": ["x"] * 6}), "label 'a': expected real numbers"),
    "splits as a mask": (
        lambda: zoo(splits={"train": np.ones(6, bool)}),
        "split 'train': expected whole numbers, got bool",
    ),
    "splits as a table": (lambda: zoo(splits={"a": [[0, 1]]}), r"expected networks \[i\], got"),
    "runs by name": (lambda: zoo(runs=list("abcdef")), "runs: expected whole numbers"),
    "no such network": (lambda: ZOO.params(9), r"expected networks 0\.\.5, got 9"),
    "select outside": (lambda: ZOO.select([9]), r"different networks \[i\] of 0\.\.5, got \[9\]"),
    "select from the end": (lambda: ZOO.select([-1]), "different networks"),
    "select twice": (lambda: ZOO.select([1, 1]), "different networks"),
    "select by a short mask": (lambda: ZOO.select([True]), "whole numbers, got bool"),
    "select a split": (lambda: ZOO.select("train"), "networks: expected whole numbers"),
    "split by shares": (lambda: zoos.split(ZOO, {"a": 0.8}, 0), "sizes: expected whole numbers"),
    "split below 0": (lambda: zoos.split(ZOO, {"a": -1}, 0), "sizes and a seed of at least 0"),
    "sizes without names": (lambda: zoos.split(ZOO, [4, 2], 0), "sizes: expected Mapping"),
    "join one zoo": (lambda: zoos.join(ZOO), "zoos: expected Sequence, got Zoo"),
    "join vectors": (lambda: zoos.concatenate([VECTORS]), "zoos: expected Zoo, got ndarray"),
    "store vectors": (lambda: store.save("x", VECTORS), "zoo: expected Zoo, got ndarray"),
    "facts of no JSON": (lambda: store.save("x", ZOO, {"a": {1}}), "facts that are JSON"),
    "recipe by name": (lambda: inr_factory.make("dws", None), "recipe: expected Recipe, got str"),
    "class of recipe": (lambda: sine.make(sine.Recipe), "recipe: .*, got the class Recipe"),
    "images as an array": (lambda: inr_factory.make(DWS, X), "images: expected ImageSet"),
    "images by name": (
        lambda: classifier_factory.make(FAMILIES["conv3-gap"].recipe(data="mnist"), "mnist"),
        "images: expected Images, got str",
    ),
    "shard as a number": (
        lambda: sine.make(sine.Recipe(networks=1), "x", shard=1),
        r"expected a shard \(k, n\) .*, got 1",
    ),
    "half a network": (lambda: sine.Recipe(networks=2.5), "networks: expected a whole number"),
    "unknown images": (lambda: images.load(None), "expected images of one of .*, got None"),
    # training
    "vectors for a zoo": (lambda: fit(VECTORS), "zoo: expected Zoo, got ndarray"),
    "unknown label": (lambda: fit(task="b"), "expected a label of .*, got 'b'"),
    "class of tasks": (lambda: fit(task=Regression), "expected Task, got the class Regression"),
    "class of encoders": (lambda: fit(encoder=encoders.MLP), "got the class MLP, not MLP"),
    "encoder by name": (
        lambda: fit(encoder="mlp"),
        "expected an instance .*, got 'mlp'",
    ),
    "head of one width": (lambda: fit(head=16), "head: expected widths of layers, .*, got 16"),
    "head of width 0": (lambda: fit(head=[0]), "head: expected widths"),
    "settings as a dict": (lambda: fit(settings={}), "settings: expected Settings, got dict"),
    "steps as text": (lambda: training.Settings(steps="9"), "steps: expected a whole number"),
    "steps below 0": (lambda: training.Settings(steps=-9), "steps: expected at least 1, got -9"),
    "steps that are true": (lambda: training.Settings(steps=True), "a whole number, got True"),
    "infinite rate": (lambda: training.Settings(learning_rate=np.inf), "a finite number, got inf"),
    "one milestone": (lambda: training.Settings(milestones=0.5), "milestones: expected a tuple"),
    "long seed": (lambda: training.Settings(seed=2**70), "seed: expected from 0 to below"),
    "loss for an objective": (lambda: Regression("a", "mse"), "objective: expected Objective"),
    "share of text": (lambda: Objective(share="all"), "share: expected a finite number"),
    "label in a list": (lambda: Regression(["a"]), "label: expected a text"),
    "classes in a text": (lambda: Classification("a", "xy"), "classes: expected a tuple, each"),
    "labels in a text": (lambda: Contrastive("ab"), "labels: expected a tuple, each a text"),
    "canvas as sizes": (lambda: Editing(None, (4, 4)), "canvas: expected Canvas"),
    "canvas below 0": (lambda: Canvas(-4, 4, "xy", 0.0), "expected rows and columns"),
    "task by its name": (
        lambda: wsjax.restore("x", "regression"),
        "kind: expected a class of tasks",
    ),
    # results
    "path for a network": (lambda: TRAINED.encode("net.pt"), "expected networks .*; got str"),
    "networks in a list": (lambda: TRAINED.encode([PARAMS]), "expected networks .*; got list"),
    "three axes": (
        lambda: TRAINED.encode(VECTORS[None]),
        r"networks .*; got \[1, 6, 13\]",
    ),
    "spec by name": (lambda: TRAINED.encode(VECTORS, "mlp"), "spec: expected Spec, got str"),
    "zoo and spec": (lambda: TRAINED.encode(ZOO, SPEC), "expected no spec beside a zoo"),
    "nested params": (lambda: TRAINED.encode({"params": PARAMS}), "params: not in the spec"),
    "one spec to extend": (lambda: TRAINED.extend(SPEC), "specs: expected Sequence, got Spec"),
    "scale of one entry": (
        lambda: TRAINED.scale.apply(VECTORS[:, :1], SPEC),
        r"expected 13 parameters, got a vector \(6, 1\)",
    ),
    # encoders
    "width as text": (lambda: encoders.GMN(width="64"), "width: expected a whole number, got '64'"),
    "one hidden width": (lambda: encoders.MLP(widths=12), "widths: expected a tuple, each a whole"),
    "no hidden width": (
        lambda: encoders.StatNN(widths=(0,)),
        r"widths: expected at least 1",
    ),
    "view of several": (lambda: MLP.view([SPEC]), "spec: expected Spec, got list"),
    "editor of a name": (lambda: encoders.editor("mlp"), "instance of wsjax.encoders.Encoder"),
    "encoder by its class": (lambda: encoders.build(encoders.SNE), "expected an encoder of"),
    # symmetries
    "no permutation": (
        lambda: permutations.act({"h0": [0, 0, 0, 9]}, PARAMS, SPEC),
        r"'h0': expected permutations of 0\.\.3, got \[0, 0, 0, 9\]",
    ),
    "permutation of floats": (
        lambda: permutations.act({"h0": np.arange(4.0)}, PARAMS, SPEC),
        r"'h0': expected permutations \(4,\) of its neurons, got \(4,\) float32",
    ),
    "key and spec swapped": (lambda: permutations.sample(SPEC, KEY), "spec: expected Spec"),
    "permutation for a scaling": (
        lambda: scalings.act({"h0": [1, 0, 2, 3]}, PARAMS, SPEC),
        "expected an Element of factors and phases, .*, got dict",
    ),
    "one kind": (lambda: scalings.sample(KEY, SPEC, "sign"), "several kinds of .*, got 'sign'"),
    "canonical of nothing": (lambda: scalings.canonical({}, SPEC), "expected, absent"),
    "widen swapped": (lambda: widening.widen(SPEC, PARAMS, KEY), "spec: expected Spec, got dict"),
    "sweeps below 0": (
        lambda: matching.match(PARAMS, PARAMS, SPEC, sweeps=-1),
        "expected a number of sweeps, got -1",
    ),
    "flip another width": (
        lambda: augmentations.flip(KEY, jnp.ones((2, 5)), SPEC),
        r"expected 13 parameters, got a vector \(2, 5\)",
    ),
    "strength as text": (lambda: augmentations.Augmentation(noise="1"), "noise: expected a finite"),
    # tests of one's own
    "unknown symmetry": (lambda: audit.Audit((), "", "", 1)["flip"], "expected one of .* 'flip'"),
    "audit in another order": (
        lambda: testing.audit(lambda p, s: p, SPEC, PARAMS, KEY),
        "spec: expected Spec, got dict",
    ),
    "no samples": (
        lambda: testing.invariance_error(lambda p: p, PARAMS, SPEC, KEY, samples=0),
        "expected at least one sample, got 0",
    ),
    "one spec": (lambda: testing.assert_encoder(MLP, SPEC, KEY), "one or more specs, .*, got Spec"),
    "encoder's class": (lambda: testing.audit_encoder(encoders.MLP, SPEC, KEY), "the class MLP"),
    "draw swapped": (lambda: testing.draw(SPEC, KEY), "spec: expected Spec, got PRNGKeyArray"),
    "level in percent": (
        lambda: metrics.bootstrap(VECTORS[0], VECTORS[0], level=95),
        r"a level in \(0, 1\), got 500, 95",
    ),
}


@pytest.mark.parametrize("name", MISUSES)
def test_a_misuse_is_one_clear_error(name):
    call, message = MISUSES[name]
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_lists_and_other_numbers_are_arrays():
    like = zoo(
        VECTORS.astype(int).tolist(),
        labels={"a": [0, 1, 2, 3, 4, 5]},
        splits={"train": [0, 1], "none": []},
        runs=range(6),
    )
    assert (like.vectors.dtype, like.labels["a"].dtype) == (np.float32, int)
    np.testing.assert_array_equal(like.vectors, VECTORS)
    assert len(like.part("train", "a")[0]) == 2
    half = zoo(jnp.asarray(VECTORS, jnp.bfloat16))
    assert half.vectors.dtype == np.float32
    with pytest.raises(ValueError, match="values are NaN or infinite"):
        zoo(VECTORS.astype(np.float64) * 1e300)
    assert encoders.MLP(widths=[4], code=2) == MLP
