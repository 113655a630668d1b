"""PyTorch modules brought to JAX by `wsjax.tracing.torch_modules`."""

from collections.abc import Callable
from typing import Any

from experiments.foreign_models.generic import Case, normal, tokens
from wsjax.tracing.torch_modules import from_torch


def module_of(name: str) -> Any:
    """A module of `torch_networks` by the name of its model, the same at every call."""
    import torch

    from experiments.foreign_models import torch_networks as networks

    kinds: dict[str, Callable[[], Any]] = {
        "torch_resnet18": networks.ResNet18,
        "torch_vgg": networks.VGG,
        "torch_vit": networks.ViT,
        "torch_mobilenet": networks.MobileNet,
        "torch_recurrent": networks.Recurrent,
        "torch_language_model": networks.LanguageModel,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return networks.generic(kinds[name]())


def _case(name, *inputs) -> Case:
    apply, params, *inputs = from_torch(module_of(name), *inputs)
    return apply, params, tuple(inputs)


def torch_resnet18() -> Case:
    """ResNet-18 of torchvision with every name it has."""
    return _case("torch_resnet18", normal(2, 3, 32, 32))


def torch_vgg() -> Case:
    """Channels before positions where it flattens."""
    return _case("torch_vgg", normal(2, 3, 16, 16))


def torch_vit() -> Case:
    """Queries, keys and values of one array, batch and heads of one axis."""
    return _case("torch_vit", normal(2, 3, 8, 12))


def torch_mobilenet() -> Case:
    """Depthwise kernels [channel, 1, *tap]."""
    return _case("torch_mobilenet", normal(2, 3, 8, 8))


def torch_recurrent() -> Case:
    """Unrolled; gates of one array, two biases for each."""
    return _case("torch_recurrent", normal(2, 4, 4))


def torch_language_model() -> Case:
    """A tied table, a buffer that is no weight, a mask."""
    return _case("torch_language_model", tokens(2, 5, vocabulary=20))


MODELS = (
    *(torch_resnet18, torch_vgg, torch_vit, torch_mobilenet, torch_recurrent),
    torch_language_model,
)
