"""Kinsight: behaviour-based customer segments and lookalike audiences on Spark."""

__version__ = "0.1.0"
