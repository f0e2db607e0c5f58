"""The only place where a Spark session is built."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pyspark import SparkConf, SparkContext
from pyspark.sql import DataFrame, SparkSession

from kinsight.config import SparkConfig
from kinsight.errors import EnvironmentProblem
from kinsight.resources import resource

INSTALL_JAVA = (
    "install Java 17, for instance `sudo apt-get install -y openjdk-17-jre-headless` (Debian, "
    "Ubuntu), `brew install openjdk@17` (macOS) or `conda install -c conda-forge openjdk=17`, "
    "and set JAVA_HOME if it is not on PATH"
)

FrameMap = Callable[[DataFrame], DataFrame]

ARROW_ROWS = "spark.sql.execution.arrow.maxRecordsPerBatch"

_CLUSTERS = {"spark": "standalone", "yarn": "yarn", "k8s": "kubernetes"}
"""Masters to files of spark-conf; all others run on this machine."""


def read_properties(path: Path) -> dict[str, str]:
    """The key-value pairs of a Spark properties file."""
    pairs: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, value = line.strip().partition(" ")
        if key and not key.startswith("#"):
            pairs[key] = value.strip()
    return pairs


def is_spark_submit() -> bool:
    """Whether spark-submit started this process, so that the JVM and its settings exist."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def properties_file(master: str) -> Path:
    """The shipped properties that fit a master: local[4], spark://HOST:7077, yarn or k8s://URL."""
    kind = master.partition("[")[0].partition(":")[0]
    return resource("spark-conf", f"{_CLUSTERS.get(kind, 'local')}.conf")


def build_session(config: SparkConfig, overrides: Mapping[str, str] | None = None) -> SparkSession:
    """The session: the running one, else from spark-submit's settings or a file of spark-conf.

    A session that runs already, as in a notebook, keeps its settings but for the time zone, which
    becomes UTC, the reading of nanoseconds, the log level, and what the configuration names, as
    far as a running session can take it.

    Args:
        config: The master, whose kind chooses the file, and properties laid over it.
        overrides: Properties laid over both, for tests.

    Raises:
        EnvironmentProblem: If Java is missing or too old, or the JVM does not start.
    """
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    conf = SparkConf()
    if SparkSession.getActiveSession() is not None:
        conf.setAll([(k, v) for k, v in config.conf.items() if k.startswith("spark.sql.")])
    elif not is_spark_submit():
        check_java()
        given = config.conf | dict(overrides or {})
        if config.master:
            given["spark.master"] = config.master
        properties = read_properties(properties_file(given.get("spark.master", "local"))) | given
        _use_cached_jars(properties)
        conf.setAll(list(properties.items()))
        if "spark.pyspark.python" in properties:
            # spark-submit would hand it to us like this; nothing else reaches the executors.
            os.environ["PYSPARK_PYTHON"] = properties["spark.pyspark.python"]
    # Only now: spark-submit and packed environments name another Python for the executors.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    with tempfile.NamedTemporaryFile("w+", prefix="kinsight-spark-", suffix=".log") as log:
        try:
            with _stderr_to(log.fileno(), active=not is_spark_submit()):
                session = SparkSession.builder.config(conf=conf).getOrCreate()
        except Exception as error:
            raise _start_problem(error, conf, Path(log.name).read_text(errors="replace")) from None
    session.conf.set("spark.sql.session.timeZone", "UTC")
    # pandas writes nanoseconds, which Spark has no type for; `ingest` turns the numbers into times.
    session.conf.set("spark.sql.legacy.parquet.nanosAsLong", "true")
    session.sparkContext.setLogLevel(os.environ.get("KINSIGHT_SPARK_LOG", "ERROR"))
    return session


def check_java() -> str:
    """Refuse to go on without Java 17 or newer; return its version.

    Raises:
        EnvironmentProblem: With the command that installs Java.
    """
    home = os.environ.get("JAVA_HOME")
    java = f"{home}/bin/java" if home else shutil.which("java")
    try:
        output = subprocess.run(
            [java or "java", "-version"], capture_output=True, text=True, check=True, timeout=60
        ).stderr
    except (OSError, subprocess.SubprocessError):
        raise EnvironmentProblem(
            "Spark needs Java and none was found.",
            expected="Java 17 or newer through JAVA_HOME or PATH",
            found=f"JAVA_HOME={home}" if home else "no `java` on PATH",
            to_do=INSTALL_JAVA,
        ) from None
    version = output.split('"')[1] if '"' in output else output.strip()
    major = version.split(".")[0]
    if not major.isdigit() or int(major) < 17:
        raise EnvironmentProblem(
            "This Java is too old for Spark 4.",
            expected="Java 17 or newer",
            found=f"Java {version}",
            to_do=INSTALL_JAVA,
        )
    return version


def _use_cached_jars(properties: dict[str, str]) -> None:
    """Take JARs that Ivy fetched before straight from its folder: no network, a faster start."""
    files = delta_jars(properties)
    if files:
        del properties["spark.jars.packages"]
        given = properties.get("spark.jars")
        properties["spark.jars"] = ",".join([*([given] if given else []), *map(str, files)])


def delta_jars(properties: Mapping[str, str]) -> list[Path]:
    """The files of ``spark.jars.packages`` in Ivy's cache; none unless all are there.

    Only what Delta needs beside its own file is known here: with any other package, Ivy decides.
    """
    packages = properties.get("spark.jars.packages")
    if not packages:
        return []
    ivy = Path(properties.get("spark.jars.ivy", Path.home() / ".ivy2.5.2"))
    files: list[Path] = []
    for package in packages.split(","):
        organisation, artifact, version = package.strip().split(":")
        if not artifact.startswith("delta-spark"):
            return []
        needed = [
            ivy / "jars" / f"{organisation}_{artifact}-{version}.jar",
            ivy / "jars" / f"io.delta_delta-storage-{version}.jar",
            *sorted((ivy / "jars").glob("org.antlr_antlr4-runtime-*.jar"))[-1:],
        ]
        if len(needed) < 3:
            return []
        files += needed
    return files if all(path.is_file() for path in files) else []


@contextlib.contextmanager
def _stderr_to(target: int, *, active: bool) -> Iterator[None]:
    """Let the JVM that starts meanwhile inherit another standard error: its log, not the screen."""
    if not active or os.environ.get("KINSIGHT_SPARK_LOG"):
        yield
        return
    sys.stderr.flush()
    saved = os.dup(2)
    os.dup2(target, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)


def is_running(context: SparkContext) -> bool:
    """Whether a context can still run jobs: nobody stopped it, here or in the JVM."""
    java = context._jsc  # None once Python stopped it
    try:
        return java is not None and not java.sc().isStopped()
    except Exception:  # of any kind: the JVM is gone, and with it whoever could answer
        return False


def on_the_driver_alone(spark: SparkSession) -> SparkSession:
    """Stop a session that lost its cluster; a new one on this machine reaches the same tables."""
    conf = SparkConf().setAll(
        [
            (key, value)
            for key, value in spark.sparkContext.getConf().getAll()
            if key.startswith(("spark.sql.", "spark.hadoop.", "spark.databricks.", "spark.jars"))
        ]
    )
    spark.stop()
    session = SparkSession.builder.config(conf=conf).master("local[1]").getOrCreate()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    return session


def _start_problem(error: Exception, conf: SparkConf, log: str) -> EnvironmentProblem:
    packages = conf.get("spark.jars.packages", "")
    if "unresolved dependency" in log or "Server access error" in log:
        return EnvironmentProblem(
            "Spark could not fetch the Delta JAR.",
            expected=f"{packages} from a Maven repository, once",
            found="no answer from the repositories",
            to_do="connect once, or put the three JAR files (delta-spark, delta-storage, "
            "antlr4-runtime) in a folder and set spark.conf: {spark.jars: FILES, "
            "spark.jars.packages: ''}",
        )
    tail = " | ".join(line for line in log.strip().splitlines()[-3:]) or str(error)
    return EnvironmentProblem(
        "Spark did not start.",
        expected="a running JVM",
        found=tail,
        to_do="run with KINSIGHT_SPARK_LOG=INFO to see Spark's own log",
    )


@contextlib.contextmanager
def kept_frames() -> Iterator[FrameMap]:
    """Gives a function that persists a frame until the block ends."""
    frames: list[DataFrame] = []

    def keep(frame: DataFrame) -> DataFrame:
        frames.append(frame.persist())
        return frame

    try:
        yield keep
    finally:
        # A stopped session, as after a lost cluster, holds nothing any more.
        for frame in frames:
            if is_running(frame.sparkSession.sparkContext):
                frame.unpersist()


@contextlib.contextmanager
def arrow_batches(spark: SparkSession, rows: int) -> Iterator[None]:
    """Let frames that are persisted within the block send so many rows to Python at once.

    The session's setting suits rows that hold a whole history; narrow rows in such small batches
    take half as long again (10 million events: 17.6 s in batches of 2,000, 11.9 s of 10,000).

    Args:
        spark: Session.
        rows: Rows of an Arrow batch at most.
    """
    before = spark.conf.get(ARROW_ROWS)
    spark.conf.set(ARROW_ROWS, str(rows))
    try:
        yield
    finally:
        spark.conf.set(ARROW_ROWS, str(before))
