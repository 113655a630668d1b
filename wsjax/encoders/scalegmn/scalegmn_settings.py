"""The published configurations of ScaleGMN, as settings of `scalegmn.ScaleGMN`.

    ScaleGMN(**SETTINGS["mnist"])          INRs 2-32-32-1 of MNIST, ten classes
    ScaleGMN(**SETTINGS["cifar10_relu_b"]) CNNs 1-16-16-16-10 of ReLU; "_b": both directions

From the configuration files of the authors' code (github.com/jkalogero/scalegmn), of as many
parameters where the two can be compared. Training, in all: AdamW with a warm-up of 1 000 steps,
gradients clipped at norm 10.

"_b" configurations carry `backward="as_published"`. That of scales is not equivariant, and that
of others has the first pairs in every round; `backward="balanced"` has neither defect. All begin
as the authors' code does, `initial="published"`.
"""

from collections.abc import Mapping

ALL = {"features": 1, "links": False, "initial": "published"}
INR = {**ALL, "layout": (2, 2, 1), "channels": 1, "symmetry": "sign"}
CNN = {**ALL, "layout": (1, 3, 10), "channels": 9, "inputs": 0.0}
FORWARD, BOTH = {"backward": "none"}, {"backward": "as_published"}
SHARED = {"plain": False, "apart": False}  # (Gamma x) * MLP(x), one net for inputs and outputs
PLAIN = {"plain": True, "apart": False}
APART = {"plain": True, "apart": True}
FULL, LAST = {"readout": "full"}, {"readout": "last"}
NO_PAIRS = {"pair_positions": False}


def _inr(width, layers, *rest, **more) -> dict:
    return _merged(INR, {"width": width, "layers": layers}, *rest, more)


def _cnn(width, layers, symmetry, *rest, **more) -> dict:
    sizes = {"width": width, "layers": layers, "symmetry": symmetry, "code": 1}
    return _merged(CNN, NO_PAIRS, sizes, *rest, more)


def _merged(*parts) -> dict:
    return {k: v for p in parts for k, v in p.items()}


EDIT = {"readout": "edit", "symmetrise": False, "dropout": 0.1, **NO_PAIRS}
FASHION = {"code": 10, "dropout": 0.2, "dropout_all": True}
COLOURS = {"layout": (2, 2, 3), "code": 10, **NO_PAIRS}
CIFAR_INR = {"dropout": 0.2, "skip": False, "symmetrise": False, **COLOURS}
SETTINGS: Mapping[str, Mapping] = {
    "mnist": _inr(128, 4, FORWARD, SHARED, LAST, code=10, dropout=0.2),
    "mnist_b": _inr(128, 4, BOTH, SHARED, LAST, NO_PAIRS, code=10, dropout=0.2, skip=False,
                    positions=("message", "update")),
    "fmnist": _inr(128, 2, FORWARD, APART, FULL, FASHION),
    "fmnist_b": _inr(128, 2, BOTH, APART, FULL, FASHION),
    "cifar_inr": _inr(64, 4, FORWARD, APART, LAST, CIFAR_INR),
    "cifar_inr_b": _inr(64, 4, BOTH, SHARED, LAST, CIFAR_INR, norm=False, add=False),
    "cifar_inr_aug": _inr(128, 4, FORWARD, APART, FULL, COLOURS, dropout=0.1),
    "cifar_inr_aug_b": _inr(128, 4, BOTH, APART, LAST, COLOURS, dropout=0.2),
    "mnist_edit": _inr(128, 10, FORWARD, APART, EDIT, dropout_all=True),
    "mnist_edit_b": _inr(128, 10, BOTH, PLAIN, EDIT),
    "cifar10_relu": _cnn(128, 4, "scale", FORWARD, PLAIN, LAST, skip=False),
    "cifar10_relu_b": _cnn(128, 4, "scale", BOTH, PLAIN, LAST, skip=False),
    "cifar10_tanh": _cnn(128, 4, "sign", FORWARD, APART, FULL, skip=False),
    "cifar10_tanh_b": _cnn(128, 4, "sign", BOTH, APART, FULL, skip=False, dropout=0.2),
    "cifar10_hetero": _cnn(128, 4, "hetero", FORWARD, PLAIN, LAST, skip=False, dropout=0.2,
                           symmetrise=False),
    "cifar10_hetero_b": _cnn(128, 5, "hetero", BOTH, PLAIN, LAST, dropout=0.1),
    "svhn_relu": _cnn(64, 4, "scale", FORWARD, APART, FULL),
    "svhn_relu_b": _cnn(64, 3, "scale", BOTH, APART, FULL),
    "svhn_tanh": _cnn(64, 4, "sign", FORWARD, APART, LAST, skip=False, norm=False),
    "svhn_tanh_b": _cnn(128, 3, "sign", BOTH, APART, FULL),
}  # fmt: skip
