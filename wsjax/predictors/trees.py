"""Boosted trees on features, kept as plain arrays: no pickle, no scikit-learn to predict.

model = grow(HistGradientBoostingRegressor, x, y, (validation_x, validation_y), max_iter=1000)
trees = Trees.of(model)
trees.predict(x) == model.predict(x), bit for bit
"""

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np


class ConstantWarning(UserWarning):
    """A model that has learnt gives one prediction for all networks."""


def grow(kind: type, x: np.ndarray, y: np.ndarray, held_out: tuple, **settings: Any) -> Any:
    """Boosted trees of at least `min(20, max(2, n // 10))` of the n networks in each leaf.

    scikit-learn's default is 20, with which trees of fewer than 40 networks have no split.

    Args:
        kind: scikit-learn's `HistGradientBoostingRegressor` or `HistGradientBoostingClassifier`.
        x: features, [network, feature].
        y: labels or classes, [network].
        held_out: the same two of the validation networks, for early stopping.
        settings: of that class.

    Returns:
        The fitted model; with a `ConstantWarning` if it gives all of x one prediction.
    """
    from sklearn.base import is_classifier

    leaf = min(20, max(2, len(x) // 10))
    trees = kind(early_stopping=True, min_samples_leaf=leaf, **settings)
    trees.fit(x, y, X_val=held_out[0], y_val=held_out[1])
    predicted = trees.predict_proba(x) if is_classifier(trees) else trees.predict(x)
    if (predicted == predicted[0]).all():
        warnings.warn(
            f"boosted trees on {len(x)} training networks give one prediction for all: no split "
            f"leaves {leaf} networks on both sides, or none predicts the label; expected more "
            "training networks, or features that differ among them",
            ConstantWarning,
            stacklevel=2,
        )
    return trees


@dataclasses.dataclass(frozen=True, eq=False)
class Trees:
    """The sum of regression trees, all their nodes in one list.

    Attributes:
        baseline: added to every prediction, [] float64.
        root: [tree] int32, the first node of each.
        feature: [node] int32, the feature that an inner node compares.
        threshold: [node] float64; values up to it go left, larger ones right.
        left, right: [node] int32, the nodes that follow; of a leaf itself.
        value: [node] float64, of leaves, which are added up.
    """

    baseline: np.ndarray
    root: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray

    @classmethod
    def of(cls, model: Any) -> "Trees":
        """The trees of a fitted `HistGradientBoostingRegressor` of squared errors.

        Raises:
            ValueError: it compares categories, or predicts several outputs.
        """
        groups = [tree for step in model._predictors for tree in step]
        nodes = [tree.nodes for tree in groups]
        if len(groups) != len(model._predictors) or any(x["is_categorical"].any() for x in nodes):
            raise ValueError("expected trees of one output on numbers")
        root = np.cumsum([0, *map(len, nodes)])[:-1]
        whole = np.concatenate(nodes)
        start = np.repeat(root, [len(x) for x in nodes])
        own, leaf = np.arange(len(whole)), whole["is_leaf"].astype(bool)
        follow = lambda side: np.where(leaf, own, whole[side] + start).astype(np.int32)
        return cls(
            np.asarray(model._baseline_prediction, np.float64).reshape(()),
            root.astype(np.int32),
            np.where(leaf, 0, whole["feature_idx"]).astype(np.int32),
            np.where(leaf, 0, whole["num_threshold"]).astype(np.float64),
            follow("left"),
            follow("right"),
            whole["value"].astype(np.float64),
        )

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Features [network, feature], finite, -> [network] float64."""
        x = np.asarray(x, np.float64)
        place = np.tile(self.root, (len(x), 1))  # [network, tree]
        while (self.left[place] != place).any():
            feature = np.take_along_axis(x, self.feature[place], axis=1)
            follow = np.where(feature <= self.threshold[place], self.left[place], self.right[place])
            place = follow
        parts = np.concatenate([np.full((len(x), 1), self.baseline), self.value[place]], axis=1)
        return np.cumsum(parts, axis=1)[:, -1]  # tree by tree, as scikit-learn rounds

    def arrays(self) -> dict[str, np.ndarray]:
        """The fields by name; `from_arrays` undoes it."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Trees":
        """The trees of `arrays`.

        Raises:
            ValueError: arrays are absent or misshapen, or nodes do not lead to leaves.
        """
        names = [f.name for f in dataclasses.fields(cls)]
        if absent := sorted(set(names) - set(arrays)):
            raise ValueError(f"expected the arrays {names} of trees, absent: {absent}")
        trees = cls(**{k: np.asarray(arrays[k]) for k in names})
        count, own = len(trees.value), np.arange(len(trees.value))
        nodes = (trees.feature, trees.threshold, trees.left, trees.right)
        if any(x.shape != (count,) for x in nodes) or trees.baseline.shape or trees.root.ndim != 1:
            raise ValueError(f"expected {count} nodes of trees in each array")
        leaf = (trees.left == own) & (trees.right == own)
        first, last = np.minimum(trees.left, trees.right), np.maximum(trees.left, trees.right)
        if not (leaf | ((first > own) & (last < count))).all():  # so that every walk ends
            raise ValueError("expected nodes of trees that lead to later ones, or are leaves")
        if ((trees.root < 0) | (trees.root >= count)).any() or (trees.feature < 0).any():
            raise ValueError(f"expected roots among the {count} nodes, and features from 0")
        return trees
