"""PyTorch modules as JAX functions, against the modules themselves."""

import dataclasses
import sys

import jax
import numpy as np
import pytest

from experiments.foreign_models import torch_models
from wsjax.tracing.torch_modules import array, from_torch

pytestmark = pytest.mark.trains  # as in use: PyTorch promotes types


def close(got, want):
    np.testing.assert_allclose(np.asarray(got), want.detach().numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("build", torch_models.MODELS, ids=lambda build: build.__name__)
def test_a_module_is_the_same_function(build):
    torch = pytest.importorskip("torch")
    apply, params, inputs = build()
    module = torch_models.module_of(build.__name__)
    stored = {name: tuple(t.shape) for name, t in module.state_dict().items()}
    mine = {name: p.shape for name, p in params.items()}
    assert mine.items() <= (stored | {"index": (8,)}).items()
    assert stored.keys() - mine.keys() <= {"read.weight"}  # tied to the embedding
    assert any(p.any() for p in params.values())
    # moving a parameter moves the output as it does in PyTorch
    name = next(n for n, p in params.items() if p.ndim > 1)
    params[name] = params[name][::-1].copy()
    module.load_state_dict({name: torch.tensor(params[name])}, strict=False)
    with torch.no_grad():
        want = module.eval()(*(torch.tensor(np.asarray(x)) for x in inputs))
    close(jax.jit(apply)(params, *inputs), want)


def test_shared_arrays_are_one():
    torch = pytest.importorskip("torch")
    module = torch_models.module_of("torch_language_model")
    _, params, _ = from_torch(module, torch.ones((1, 3), dtype=torch.int64))
    assert "embed.weight" in params
    assert "read.weight" not in params


def test_several_outputs_and_the_mode_of_the_module():
    torch = pytest.importorskip("torch")

    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = torch.nn.BatchNorm1d(3)
            self.drop = torch.nn.Dropout(0.5)

        def forward(self, x, y):
            return self.norm(self.drop(x)), (x * y).sum(), torch.zeros(2)

    module, x = Two(), torch.randn(4, 3)
    module.drop.eval()
    apply, params, *inputs = from_torch(module, x, np.ones(3, np.float32))
    assert module.training
    assert not module.drop.training
    assert params["norm.running_mean"].shape == (3,)
    first, second, third = apply(params, *inputs)
    close(first, module.eval()(x, torch.ones(3))[0])
    close(second, x.sum())
    assert third.shape == (2,)


def test_outputs_keep_their_structure():
    torch = pytest.importorskip("torch")

    class Named(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(3, 2)

        def forward(self, x):
            return {"logits": self.layer(x), "state": [x + 1, None], "number": 3}, None

    module, x = Named(), torch.randn(4, 3)
    apply, params, *inputs = from_torch(module, x)
    got, nothing = jax.jit(apply)(params, *inputs)
    assert nothing is None
    assert sorted(got) == ["logits", "number", "state"]
    close(got["logits"], module(x)[0]["logits"])
    close(got["state"][0], x + 1)
    assert got["state"][1] is None
    assert got["number"] == 3


def test_outputs_of_other_classes_are_an_error():
    torch = pytest.importorskip("torch")

    @dataclasses.dataclass
    class Output:
        logits: torch.Tensor

    class Wrapped(torch.nn.Module):
        def forward(self, x):
            return Output(x + 1)

    torch.export.register_dataclass(Output, serialized_type_name="Output of a test")
    with pytest.raises(ValueError, match=r"Wrapped: expected tensors .* returns Output; wrap it"):
        from_torch(Wrapped(), torch.ones(2))


def test_unsupported_operators_are_all_named():
    torch = pytest.importorskip("torch")

    class Odd(torch.nn.Module):
        def forward(self, x):
            return torch.special.bessel_j0(x) + torch.linalg.det(x)

    with pytest.raises(ValueError, match=r"Odd: .*aten\._linalg_det.*bessel_j0.*recognize"):
        from_torch(Odd(), torch.eye(2))


def test_what_cannot_be_exported_is_an_error():
    torch = pytest.importorskip("torch")

    class Branch(torch.nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(ValueError, match=r"Branch: torch\.export cannot read it"):
        from_torch(Branch(), torch.ones(2))


def test_arrays_keep_their_type():
    torch = pytest.importorskip("torch")
    for name in ("bfloat16", "float16", "float64", "int8", "bool", "complex64"):
        tensor = torch.tensor([0.5, 3]).to(getattr(torch, name))
        assert str(array(tensor).dtype) == name
        assert array(tensor).tolist() == tensor.tolist()


def test_the_remedy_is_named_where_pytorch_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"pip install 'wsjax\[torch\]'"):
        from_torch(object())
