"""Encoders: torch modules from a batch of histories to one or more vectors a user. No Spark."""

# pyarrow must be loaded before torch: the other way round their C++ runtimes can clash. Whatever
# needs torch imports this package first, so the order is settled here.
import pyarrow  # noqa: F401  # imported for its effect, see above
