"""Scorers by name."""

from __future__ import annotations

from kinsight.expand.scorers.bag_logistic import BagLogistic
from kinsight.expand.scorers.base import Scorer
from kinsight.expand.scorers.boosted import Boosted
from kinsight.expand.scorers.centroid import Centroid
from kinsight.expand.scorers.finetuned import Finetuned
from kinsight.expand.scorers.knn import Knn
from kinsight.expand.scorers.logistic import Logistic
from kinsight.expand.scorers.users import Users

SCORERS: dict[str, Scorer] = {
    scorer.name: scorer
    for scorer in (
        BagLogistic(),
        Boosted(),
        Centroid(),
        Finetuned(),
        Knn(),
        Logistic(),
        Logistic("svd_logistic", "components"),
    )
}
"""Every scorer; the first named wins where two are equally good on held-out seeds."""

OF_HISTORIES = ("finetuned",)
"""Scorers that read histories, and need an encoder with layers to learn."""

CANDIDATES = [name for name in SCORERS if name not in ("finetuned", "knn")]
"""What ``auto`` and ``fused`` try by default. ``knn`` is dear to apply and added nothing: mean AUC
of ``auto`` on users kept aside, with it and without, .694 and .694 (four audiences of Complete
Journey), .771 and .771 (fifteen of three shops, who take something next). ``finetuned`` learns
from and encodes histories anew for each audience; the default encoder has no layers for it."""

OF_COMPONENTS = ("boosted", "svd_logistic")
"""Scorers that read components of the bags."""


def seen_by(scorer: Scorer, users: Users) -> Users:
    """What a scorer needs of users: histories only where it reads them."""
    return users if scorer.name in OF_HISTORIES else users.without_histories()


AUTO = "auto"
"""The choice among them, and among ways to rank by several, by hidden seeds."""

FUSED = "fused"
"""All of them together, whichever is best alone."""
