"""How well labels are told from vectors: by a head that was trained, or by a small new one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

PROBED_AT_LEAST = 20
"""Users with a label below which a new head tells nothing."""


def quality(task: str, scores: Tensor, label: Tensor) -> dict[str, float]:
    """What a person knows of how well labels are told.

    Args:
        task: Its name; ``will_buy`` is measured by its area under the curve.
        scores: [N, classes].
        label: [N], int64.

    Returns:
        ``…_accuracy`` and ``…_majority``, or ``…_auc``; nothing where all labels are equal.
    """
    counts = torch.bincount(label)
    if (counts > 0).sum() < 2:
        return {}
    if task == "will_buy":
        # Imported here: training alone needs no scikit-learn.
        from sklearn.metrics import roc_auc_score

        score = (scores[:, 1] - scores[:, 0]).numpy()
        return {f"{task}_auc": float(roc_auc_score(label.numpy(), score))}
    return {
        f"{task}_accuracy": float((scores.argmax(1) == label).float().mean()),
        f"{task}_majority": float(counts.max()) / len(label),
    }


def head_quality(task: str, vectors: Tensor, label: Tensor) -> dict[str, float]:
    """``quality`` of a logistic head, fitted on every other user and measured on the rest.

    Args:
        task: Its name.
        vectors: Frozen vectors, [N, d].
        label: [N], int64; -1 where it is unknown.
    """
    from sklearn.linear_model import LogisticRegression

    vectors, label = vectors[label >= 0], label[label >= 0]
    fitted, rest = slice(0, None, 2), slice(1, None, 2)
    if len(label) < PROBED_AT_LEAST or len(np.unique(label[fitted].numpy())) < 2:
        return {}
    head = LogisticRegression(max_iter=1_000)
    head.fit(vectors[fitted].numpy(), label[fitted].numpy())
    # Labels that the head never met have no chance.
    scores = torch.full((len(label[rest]), int(label.max()) + 1), -torch.inf)
    likely = np.log(head.predict_proba(vectors[rest].numpy()) + 1e-12)
    scores[:, torch.from_numpy(head.classes_)] = torch.from_numpy(likely).float()
    return quality(task, scores, label[rest])
