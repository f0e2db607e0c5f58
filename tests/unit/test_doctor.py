"""`kinsight doctor` tells what is wrong with a machine before Spark does, in other words."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinsight.cli import main
from kinsight.config import KinsightConfig
from kinsight.doctor import Check, examine


def found(config: KinsightConfig | None = None) -> dict[str, Check]:
    return {check.name: check for check in examine(config)}


def config_of(tmp_path: Path, **sections: object) -> KinsightConfig:
    data = {
        "tables": {"path": str(tmp_path / "warehouse")},
        "ingest": {"events": [{"name": "log", "path": str(tmp_path / "*.csv")}]},
    }
    return KinsightConfig.model_validate(data | sections)


def test_this_machine_can_run_the_tests() -> None:
    checks = found()
    assert {checks[name].verdict for name in ("Java", "packages", "scratch space")} == {"ok"}


def test_a_missing_java_comes_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JAVA_HOME", "/no/such/folder")
    java = found()["Java"]
    assert java.verdict == "problem"
    assert "openjdk-17" in java.to_do


def test_a_package_of_another_version_is_named_with_the_one_expected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from kinsight import doctor

    monkeypatch.setattr(doctor.metadata, "requires", lambda _: ["numpy<1", "nowhere>=1"])
    packages = found()["packages"]
    assert packages.verdict == "problem"
    assert "expected <1" in packages.found
    assert "nowhere none" in packages.found


def test_sources_and_jars_that_are_not_there_are_problems(tmp_path: Path) -> None:
    conf = {"spark.jars": str(tmp_path / "delta.jar"), "spark.driver.memory": "4000g"}
    checks = found(config_of(tmp_path, spark={"conf": conf}))
    assert checks["source log"].verdict == "problem"
    assert checks["Delta JAR"].verdict == "problem"
    assert checks["memory"].verdict == "warning"
    (tmp_path / "a.csv").write_text("x\n")
    assert found(config_of(tmp_path))["source log"].verdict == "ok"


def test_tables_where_nobody_may_write_are_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    config = config_of(tmp_path, tables={"path": str(tmp_path / "file" / "warehouse")})
    assert found(config)["tables"].verdict == "problem"


@pytest.mark.parametrize("command", [["doctor"], ["config", "check"]])
def test_a_missing_source_is_named_by_the_commands_that_check(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kinsight.yaml").write_text(
        "tables: {path: ./warehouse}\ningest: {events: [{name: log, path: log.csv}]}\n"
    )
    with pytest.raises(SystemExit) as caught:
        main(command)
    assert caught.value.code == (1 if command == ["doctor"] else 2)
    message = capsys.readouterr().err
    assert "found: source log: nothing at" in message
    assert "to do: correct `path` of source log" in message
    if command != ["doctor"]:
        (tmp_path / "log.csv").write_text("user_id\n")
        with pytest.raises(SystemExit) as caught:
            main(command)
        assert not caught.value.code
