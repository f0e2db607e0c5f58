"""The flags that make up what a user is to an audience. No Spark: executors read them too."""

from __future__ import annotations

ELIGIBLE, SUPPRESSED, SEED, TRUTH = 1, 2, 4, 8

UNSURE = 16
"""The ``suppress`` predicate has no value for the user, who counts as not suppressed."""

LISTED = 32
"""On the ``suppress`` list, whatever the predicate says."""

STANDING = ELIGIBLE | SUPPRESSED | SEED
"""Mask that leaves the truth out: nothing that learns or ranks may see it."""

RANKED = ELIGIBLE
"""Eligible, not suppressed, no seed."""

MATCHED = ELIGIBLE | SEED
"""A seed that is eligible and not suppressed."""

SEED_LEVEL = "seed"
"""Level of kept seeds."""
