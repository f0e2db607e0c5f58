"""What a training process says to the person who waits for the driver: lines through its output.

TorchDistributor hands on every line that its processes print, torch's own among them. Those of
Kinsight bear a mark; they alone reach the console, in Kinsight's own form.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections import deque
from collections.abc import Iterator
from typing import Any

from kinsight import errors
from kinsight.errors import KinsightError
from kinsight.progress import Progress

MARK = "kinsight-rank "
OTHERS = 400
"""Lines of others that are kept, for torchrun's account of a failure is among the last."""


def send(kind: str, **content: Any) -> None:
    """Print a marked line: one write, so that lines of several processes do not mix."""
    sys.stdout.write(f"{MARK}{json.dumps({'kind': kind} | content)}\n")
    sys.stdout.flush()


def send_failure(error: Exception, rank: int) -> None:
    """Tell why this process ends."""
    parts = {}
    if isinstance(error, KinsightError):
        parts = {name: getattr(error, name) for name in ("expected", "found", "to_do")}
        parts["problem"] = error.problem
    send("failure", error=type(error).__name__, text=str(error)[:1_000], rank=rank, parts=parts)


class RelayedProgress(Progress):
    """Sends what is to be shown to the driver; of all processes only one should.

    Args:
        speaks: Whether this is the one.
    """

    def __init__(self, speaks: bool) -> None:
        super().__init__(quiet=True)
        self.speaks = speaks

    def say(self, message: str) -> None:
        """Show one line."""
        if self.speaks:
            send("say", message=message)

    def warn(self, message: str) -> None:
        """Show a warning."""
        if self.speaks:
            send("warn", message=message)


class RelayedLines(io.TextIOBase):
    """Stands for the driver's output while processes train.

    Args:
        progress: Where their lines are shown.
        out: The stream that it stands for.

    Attributes:
        failures: What processes said of their ends.
        others: The latest lines without the mark.
    """

    def __init__(self, progress: Progress, out: Any) -> None:
        self.progress = progress
        self.out = out
        self.failures: list[dict[str, Any]] = []
        self.others: deque[str] = deque(maxlen=OTHERS)
        self._rest = ""

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, text: str) -> int:
        """Take lines in pieces of any length."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._take(line)
        return len(text)

    def _take(self, line: str) -> None:
        found = parse_line(line)
        if found is None:
            self.others.append(line)
            return
        if found["kind"] == "failure":
            self.failures.append(found)
            return
        # The console writes to whatever is the standard error at the time.
        with contextlib.redirect_stderr(self.out):
            show = self.progress.warn if found["kind"] == "warn" else self.progress.say
            show(str(found["message"]))


def parse_line(line: str) -> dict[str, Any] | None:
    """What a marked line holds; None for any other."""
    _, mark, text = line.partition(MARK)
    try:
        found = json.loads(text) if mark else None
    except ValueError:  # cut off on its way
        return None
    return found if isinstance(found, dict) and "kind" in found else None


def known_error(failure: dict[str, Any]) -> KinsightError | None:
    """The error of a failed process, where it is one of Kinsight's."""
    kind = getattr(errors, str(failure["error"]), None)
    if not (isinstance(kind, type) and issubclass(kind, KinsightError)):
        return None
    parts = failure["parts"]
    return kind(parts.pop("problem"), **parts)


@contextlib.contextmanager
def relayed(progress: Progress) -> Iterator[RelayedLines]:
    """Let nothing but marked lines through to the person.

    Yields:
        What is kept of the lines, as they come in.
    """
    lines = RelayedLines(progress, sys.stderr)
    with contextlib.redirect_stdout(lines), contextlib.redirect_stderr(lines):
        yield lines
