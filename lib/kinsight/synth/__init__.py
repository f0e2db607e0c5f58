"""Synthetic shops of any size, with planted archetypes, made inside Spark executors."""
