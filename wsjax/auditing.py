"""Which symmetries a trained encoder respects, on a random network or on that of a file.

audited = audit_model("runs/first")
audited.audit["permutation"].verdict      "exact"
print(audited.audit)                      the figures
"""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from wsjax import recognition, tasks, testing
from wsjax.checks import counted, printable
from wsjax.networks import Spec
from wsjax.symmetries.audit import Audit


@dataclasses.dataclass(frozen=True)
class ModelAudit:
    """The audit of a trained encoder.

    Attributes:
        model: where it comes from.
        trained: in words, such as "TrainedRegressor(regression of 'accuracy', SNE, ...)".
        encoder: the name of its class.
        network: the one it was measured on, in words.
        spec: of that network.
        audit: the findings.
    """

    model: str
    trained: str
    encoder: str
    network: str
    spec: Spec
    audit: Audit


def audit_model(
    model: str | os.PathLike | tasks.Trained,
    file: str | os.PathLike | None = None,
    *,
    samples: int = 3,
    seed: int = 0,
    branch: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> ModelAudit:
    """Measures which symmetries of networks a trained encoder respects, see `symmetries.audit`.

    Args:
        model: a trained result, or what `restore` takes to give one.
        file: of the network to measure with; a random one of the architecture that the encoder was
            trained on, the first of several, if None. Trained networks have small weights, which
            hide defects: random ones are the stricter test.
        samples: of each symmetry.
        seed: of the samples and of the random network.
        branch: of the file, as `files.load` takes it.
        config: of the file's network, as `recognize` takes it.

    Raises:
        OSError, ValueError: as `restore`, `recognition.read` and `symmetries.audit.audit`; the
            model is an editor, which has no embedding; the encoder does not support the file's
            architecture.
    """
    if isinstance(model, tasks.Trained):
        trained, name = model, type(model).__name__
    else:
        trained, name = tasks.restore(os.fspath(model)), printable(model)
    key = jax.random.key(seed)
    if file is None:
        spec = trained.specs[0]
        params = testing.draw(jax.random.fold_in(key, 0), spec)
        network = f"a random network of {counted(spec.count, 'weight')}, as in training"
    else:
        stored = recognition.read(file, branch, config)
        params, spec = {n: jnp.asarray(x) for n, x in stored.params.items()}, stored.spec
        network = f"{printable(file)} ({stored.recognition})"
    result = testing.audit(trained, params, spec, jax.random.fold_in(key, 1), samples=samples)
    encoder = type(trained.module.encoder).__name__
    return ModelAudit(name, repr(trained), encoder, network, spec, result)
