"""Scorers: numpy and scipy in, scores out. No Spark."""
