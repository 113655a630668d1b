"""Classifiers and sine networks in plain PyTorch, against which the factories are timed."""

import importlib.util
import itertools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from wsjax.networks import Params, Spec


def load(needs: tuple[str, ...] = ("torch",)) -> Any | None:
    """PyTorch on one thread, or None with a message where a package is not installed."""
    if missing := [x for x in needs if importlib.util.find_spec(x) is None]:
        print(f"not compared with PyTorch: pip install {' '.join(missing)}", flush=True)
        return None
    import torch

    torch.set_num_threads(1)  # the networks are too small for two: they would only wait
    return torch


def device_of(torch: Any) -> str:
    """The device for PyTorch: a GPU if JAX computes on one, else the CPU.

    Raises:
        RuntimeError: JAX has a GPU that this build of PyTorch cannot use.
    """
    if jax.default_backend() != "gpu":
        return "cpu"
    if not torch.cuda.is_available():
        raise RuntimeError("expected a PyTorch that can use the GPU, as JAX does; or none")
    return "cuda"


def siren(torch: Any, spec: Spec, params: Params, omega: float, offset: float) -> Any:
    """A sine network with the given weights."""

    class Siren(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList()
            for layer in spec.layers:
                kernel = torch.tensor(np.array(params[f"{layer.name}/kernel"]).T.copy())
                linear = torch.nn.Linear(kernel.shape[1], kernel.shape[0])
                with torch.no_grad():
                    linear.weight.copy_(kernel)
                    linear.bias.copy_(torch.tensor(np.array(params[f"{layer.name}/bias"])))
                self.layers.append(linear)

        def forward(self, x):
            for linear in self.layers[:-1]:
                x = torch.sin(omega * linear(x))
            return self.layers[-1](x) + offset

    return Siren()


def fit(torch: Any, model: Any, x: Any, y: Any, adam: Any, steps: int, tolerance: float) -> int:
    """Fits a network to values; the steps taken until the error is low enough."""
    for step in range(steps):
        adam.zero_grad()
        error = torch.nn.functional.mse_loss(model(x), y)
        if error.item() <= tolerance:
            return step
        error.backward()
        adam.step()
    return steps


def regression_step(net: Any, inputs: Any, target: np.ndarray) -> Callable[[], float]:
    """A step of AdamW on the squared error of one number for each network."""
    import torch

    adam, target = torch.optim.AdamW(net.parameters()), torch.as_tensor(target.copy())

    def run():
        adam.zero_grad()
        loss = ((net(inputs).reshape(-1) - target) ** 2).mean()
        loss.backward()
        adam.step()
        return float(loss.detach())

    return run


def training(
    name: str, side: int, channels: int, parameters: int, steps: int
) -> Callable[[], object] | None:
    """So many steps of one classifier at batches of 128; None where PyTorch is not installed.

    On one thread of the CPU, or where JAX computes on a GPU, on that.

    Raises:
        ValueError: the network there has other than so many parameters.
    """
    if (torch := load()) is None:
        return None
    net = network(torch, name, channels)
    if (came := sum(p.numel() for p in net.parameters())) != parameters:
        raise ValueError(f"{name}: expected {parameters} parameters in PyTorch, got {came}")
    device = device_of(torch)
    torch.set_float32_matmul_precision("high")  # as JAX has it: fewer bits, on a GPU that can
    net = net.to(device)
    x = torch.randn(steps * 128, channels, side, side, device=device)
    y = torch.randint(0, 10, (len(x),), device=device)
    adam, loss = torch.optim.Adam(net.parameters()), torch.nn.CrossEntropyLoss()

    def run():
        for rows in torch.randperm(len(x), device=device).split(128):
            adam.zero_grad()
            loss(net(x[rows]), y[rows]).backward()
            adam.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def network(torch: Any, name: str, channels: int) -> Any:
    """The kind's network, of its largest shape, in plain PyTorch."""
    nn = torch.nn
    drop = lambda: nn.Dropout(0.1)

    class Mean(nn.Module):
        def forward(self, x):
            return x.flatten(2).mean(2)

    class Set(nn.Module):
        def __init__(self, reads, writes):
            super().__init__()
            self.own, self.all = nn.Linear(reads, writes), nn.Linear(reads, writes, bias=False)

        def forward(self, x):
            return self.own(x) + self.all(x.mean(1, keepdim=True))

    class Pixels(nn.Module):
        def forward(self, x):
            places = torch.linspace(-1, 1, x.shape[-1], device=x.device)
            places = places.expand(len(x), 1, *x.shape[2:])
            return torch.cat([x, places, places.mT], 1).flatten(2).mT

    class Channels(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x.mT).mT

    class Transposed(nn.Module):
        def forward(self, x):
            return x.mT

    class Residual(nn.Module):
        def __init__(self, width):
            super().__init__()
            conv = lambda: nn.Conv2d(width, width, 3, padding=1, bias=False)
            norm = lambda: nn.BatchNorm2d(width)
            self.inner = nn.Sequential(conv(), norm(), nn.ReLU(), conv(), norm())

        def forward(self, x):
            return torch.relu(x + self.inner(x))

    class ViT(nn.Module):
        def __init__(self, width, inner, tokens, first):
            super().__init__()
            self.patches = nn.Conv2d(channels, width, 4, 4)
            self.places = nn.Parameter(torch.randn(tokens + first, width))
            self.first = nn.Parameter(torch.randn(1, 1, width)) if first else None
            block = lambda: nn.TransformerEncoderLayer(
                width, 4, inner, 0.1, "gelu", batch_first=True, norm_first=True
            )
            self.blocks = nn.Sequential(block(), block(), block())
            self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, 10)

        def forward(self, x):
            x = self.patches(x).flatten(2).mT
            if self.first is not None:
                x = torch.cat([self.first.expand(len(x), -1, -1), x], 1)
            x = self.norm(self.blocks(x + self.places))
            return self.out(x.mean(1) if self.first is None else x[:, 0])

    def stack(layers, widths, norm):
        parts = []
        for reads, writes in itertools.pairwise(widths):
            parts += [layers(reads, writes), norm(writes), nn.ReLU(), drop()]
        return parts

    head = lambda width: [nn.Linear(width, width), nn.ReLU(), drop(), nn.Linear(width, 10)]
    if name == "conv3-gap":
        conv = lambda reads, writes: nn.Conv2d(reads, writes, 3, 2)
        layers = stack(conv, [channels, 16, 16, 16], lambda width: nn.Identity())
        return nn.Sequential(*layers, Mean(), nn.Linear(16, 10))
    if name == "conv3-linear2":
        conv = lambda reads, writes, window: nn.Conv2d(reads, writes, window)
        parts = [conv(channels, 8, 5), nn.ReLU(), nn.MaxPool2d(2), drop()]
        parts += [conv(8, 6, 5), nn.ReLU(), nn.MaxPool2d(2), drop(), conv(6, 4, 2), nn.ReLU()]
        parts += [drop(), nn.Flatten(), nn.Linear(36, 20), nn.ReLU(), drop(), nn.Linear(20, 10)]
        return nn.Sequential(*parts)
    if name == "cnn":
        conv = lambda reads, writes: nn.Conv2d(reads, writes, 3, 2, 1)
        layers = stack(conv, [channels, 32, 32, 32], nn.BatchNorm2d)
        return nn.Sequential(*layers, Mean(), *head(32))
    if name == "cnn1d":
        conv = lambda reads, writes: nn.Conv1d(reads, writes, 9, 4, 4)
        layers = stack(conv, [channels, 32, 32, 32], nn.BatchNorm1d)
        return nn.Sequential(nn.Flatten(2), *layers, Mean(), *head(32))
    if name == "deepsets":
        norm = lambda width: Channels(nn.BatchNorm1d(width))
        layers = stack(Set, [channels + 2, 64, 64, 64, 64], norm)
        return nn.Sequential(Pixels(), *layers, Transposed(), Mean(), *head(64))
    if name == "resnet":
        first = [nn.Conv2d(channels, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
        return nn.Sequential(*first, *(Residual(32) for _ in range(4)), Mean(), nn.Linear(32, 10))
    return ViT(48, 192, 64, 0) if name == "vit" else ViT(32, 48, 49, 1)
