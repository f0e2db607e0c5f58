"""The `kinsight` command."""

from kinsight.cli.main import main

__all__ = ["main"]
