"""Objectives: torch losses that train an encoder without labels. No Spark."""
