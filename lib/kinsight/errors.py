"""The mistakes Kinsight knows, each saying what was expected, what was found and what to do.

The command line prints these without a traceback and turns them into its exit code:
1 for a failure, 2 for wrong usage or configuration, 3 where a gate refused the data.
"""

from __future__ import annotations


class KinsightError(Exception):
    """Base of all errors that are meant for the person who runs Kinsight.

    Args:
        problem: One sentence that names what went wrong.
        expected: What would have been right.
        found: What was there instead.
        to_do: The next step for the reader.
    """

    exit_code = 1

    def __init__(
        self, problem: str, *, expected: str = "", found: str = "", to_do: str = ""
    ) -> None:
        self.problem = problem
        self.expected = expected
        self.found = found
        self.to_do = to_do
        super().__init__(self.text())

    def text(self) -> str:
        """The whole message, one line a part."""
        parts = [("expected", self.expected), ("found", self.found), ("to do", self.to_do)]
        return "\n".join([self.problem, *(f"  {name}: {text}" for name, text in parts if text)])


class ConfigError(KinsightError):
    """The configuration or the command line is wrong."""

    exit_code = 2


class RefusedError(KinsightError):
    """A gate refused the data: too few seeds, an empty source, too many malformed rows."""

    exit_code = 3


class IntegrityError(KinsightError):
    """Something on disk is not what was recorded: a checksum, a row count, a table schema."""


class EnvironmentProblem(KinsightError):
    """The machine lacks something: Java, the Delta JAR, a permission."""
