"""PyTorch modules with torchvision's names at small widths, and recurrent ones."""

import torch
from torch import nn


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut of torchvision's ResNet-18."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        shortcut = [nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width)]
        self.downsample = nn.Sequential(*shortcut) if inputs != width else None

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    """torchvision's ResNet-18, its widths divided by eight."""

    def __init__(self, widths=(8, 16, 32, 64), classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        before = (widths[0], *widths)
        for i, width in enumerate(widths):
            first = BasicBlock(before[i], width, 1 if i == 0 else 2)
            setattr(self, f"layer{i + 1}", nn.Sequential(first, BasicBlock(width, width, 1)))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class VGG(nn.Module):
    """torchvision's VGG-11 with BatchNorm, of three stages."""

    def __init__(self, widths=(6, 8, 12), classes=5):
        super().__init__()
        layers = []
        for inputs, width in zip((3, *widths), widths, strict=False):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width)]
            layers += [nn.ReLU(inplace=True), nn.MaxPool2d(2, 2)]
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((2, 2))
        dense = [nn.Linear(widths[-1] * 4, 16), nn.ReLU(True), nn.Dropout()]
        self.classifier = nn.Sequential(*dense, nn.Linear(16, classes))

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class EncoderBlock(nn.Module):
    """A block of torchvision's ViT."""

    def __init__(self, width, heads, hidden):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps=1e-6)
        self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.dropout = nn.Dropout(0.0)
        self.ln_2 = nn.LayerNorm(width, eps=1e-6)
        dense = [nn.Linear(width, hidden), nn.GELU(), nn.Dropout(0.0), nn.Linear(hidden, width)]
        self.mlp = nn.Sequential(*dense)

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.dropout(self.self_attention(y, y, y, need_weights=False)[0])
        return x + self.mlp(self.ln_2(x))


class Encoder(nn.Module):
    """Positions, blocks and a last normalisation."""

    def __init__(self, length, width, heads, hidden, depth):
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.empty(1, length, width).normal_(std=0.1))
        self.layers = nn.Sequential()
        for i in range(depth):
            self.layers.add_module(f"encoder_layer_{i}", EncoderBlock(width, heads, hidden))
        self.ln = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x):
        return self.ln(self.layers(x + self.pos_embedding))


class ViT(nn.Module):
    """torchvision's ViT, small."""

    def __init__(self, width=16, classes=6):
        super().__init__()
        self.conv_proj = nn.Conv2d(3, width, 4, 4)
        self.class_token = nn.Parameter(torch.randn(1, 1, width))
        self.encoder = Encoder(7, width, 2, 24, 2)
        self.heads = nn.Sequential()
        self.heads.add_module("head", nn.Linear(width, classes))

    def forward(self, x):
        x = self.conv_proj(x).flatten(2).permute(0, 2, 1)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], 1)
        return self.heads(self.encoder(x)[:, 0])


class InvertedResidual(nn.Module):
    """A block of MobileNetV2."""

    def __init__(self, width, hidden):
        super().__init__()
        layers = []
        for inputs, out, size, groups in ((width, hidden, 1, 1), (hidden, hidden, 3, hidden)):
            layers.append(
                nn.Conv2d(inputs, out, size, padding=size // 2, groups=groups, bias=False)
            )
            layers += [nn.BatchNorm2d(out), nn.ReLU6(inplace=True)]
        self.conv = nn.Sequential(*layers, nn.Conv2d(hidden, width, 1), nn.BatchNorm2d(width))

    def forward(self, x):
        return x + self.conv(x)


class MobileNet(nn.Module):
    """Two blocks of MobileNetV2."""

    def __init__(self):
        super().__init__()
        blocks = [InvertedResidual(8, 16), InvertedResidual(8, 12)]
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), *blocks)
        self.classifier = nn.Linear(8, 5)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class Recurrent(nn.Module):
    """An LSTM of two layers, then a GRU; gates are stored side by side."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 6, num_layers=2, batch_first=True)
        self.gru = nn.GRU(6, 5, batch_first=True)
        self.fc = nn.Linear(5, 2)

    def forward(self, x):
        return self.fc(self.gru(self.lstm(x)[0])[0][:, -1])


class LanguageModel(nn.Module):
    """PyTorch's encoder layers with a causal mask; the table also reads out."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 12)
        self.positions = nn.Embedding(8, 12)
        self.register_buffer("index", torch.arange(8), persistent=False)
        layer = nn.TransformerEncoderLayer(
            12, 3, 16, batch_first=True, norm_first=True, activation="gelu"
        )
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.read = nn.Linear(12, 20, bias=False)
        self.read.weight = self.embed.weight

    def forward(self, t):
        n = t.shape[1]
        mask = torch.full((n, n), float("-inf")).triu(1)
        x = self.embed(t) + self.positions(self.index[:n])
        return self.read(self.layers(x, mask=mask, is_causal=True))


def generic(module: nn.Module) -> nn.Module:
    """The module with noise added to every array of one axis: none is zeros or ones."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor.add_(0.3 * torch.rand(tensor.shape, generator=random))
    return module
