"""Reading a configuration: YAML, environment variables, paths, and errors that name the key."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from kinsight.config.shop import KinsightConfig
from kinsight.errors import ConfigError

ENVIRONMENT_PREFIX = "KINSIGHT__"

S = TypeVar("S", bound=BaseModel)


def load_config(path: str | Path) -> KinsightConfig:
    """Read and check a configuration file.

    Args:
        path: YAML file. Relative paths inside it are resolved against its folder.

    Raises:
        ConfigError: If the file is missing, no YAML, or a key or value is wrong.
    """
    path = Path(path)
    data = read_yaml(path)
    overrides = {k: v for k, v in os.environ.items() if k.startswith(ENVIRONMENT_PREFIX)}
    return parse_settings(KinsightConfig, _resolve_paths(_override(data, overrides), path), path)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: If the file cannot be read or holds no mapping.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"Cannot read {path}.",
            expected="a readable YAML file",
            found=error.strerror or str(error),
            to_do="name the file with `-c`; docs/quick-start.md has an example",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is not YAML.",
            expected="YAML text",
            found=_place_of(error),
            to_do="mend that line, or the one above it",
        ) from None
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path} holds no settings.",
            expected="`key: value` lines",
            found=type(data).__name__,
            to_do="start from the example in docs/quick-start.md",
        )
    return data


def parse_settings(model: type[S], data: Mapping[str, Any], source: Path) -> S:
    """Check a mapping against a settings model.

    Raises:
        ConfigError: Naming each wrong key with the nearest known one.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = [_describe(model, dict(e), data) for e in error.errors()]
        raise ConfigError(
            f"{source}: {len(problems)} wrong setting{'s' if len(problems) > 1 else ''}.",
            expected="the keys and values that docs/configuration.md lists",
            found="; ".join(problems),
            to_do="mend them in the file",
        ) from None


def _place_of(error: yaml.YAMLError | UnicodeDecodeError) -> str:
    """Where a text stops being YAML, in one line."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    problem = getattr(error, "problem", None) or "not YAML"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"


def _describe(model: type[BaseModel], error: dict[str, Any], data: Mapping[str, Any]) -> str:
    location = [str(part) for part in error["loc"]]
    where = f"`{'.'.join(location) or 'the file'}`"
    name = _name_at(data, error["loc"])
    if error["type"] != "extra_forbidden":
        whose = f" ({name})" if name else ""
        return f"{where}{whose}: {error['msg'].removeprefix('Value error, ')}"
    known = _known_keys(model, location[:-1])
    near = difflib.get_close_matches(location[-1], known, 1, cutoff=0.5)
    hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}"
    return f"unknown key {where} ({f'{name}; ' if name else ''}{hint})"


def _name_at(data: Any, location: Sequence[str | int]) -> str:
    """The name of the entry of a list, such as a source, that a place lies in; often none."""
    found = ""
    for part in location:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            break
        if isinstance(part, int) and isinstance(data, Mapping) and data.get("name"):
            found = f"{'source ' if location[0] == 'ingest' else ''}{data['name']}"
    return found


def _known_keys(model: type[BaseModel], location: list[str]) -> list[str]:
    """Keys of the settings model that stands at a place of the configuration."""
    for part in location:
        if part.isdigit():
            continue
        field = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        inner = _settings_in(field.annotation) if field is not None else None
        if inner is None:
            return []
        model = inner
    return [f.alias or name for name, f in model.model_fields.items()]


def _settings_in(annotation: Any) -> type[BaseModel] | None:
    """The first settings model named in an annotation such as ``list[SourceConfig]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_settings_in(inner) for inner in getattr(annotation, "__args__", ()))
    return next((inner for inner in found if inner is not None), None)


def _override(data: dict[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """Lay ``KINSIGHT__STAGE__KEY=value`` variables over the file; values are read as YAML."""
    for variable, text in sorted(variables.items()):
        *folders, key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        target = data
        for folder in folders:
            if not isinstance(target.get(folder), dict):
                target[folder] = {}  # such as segments: 10, of which a range is made
            target = target[folder]
        target[key] = yaml.safe_load(text)
    return data


def _resolve_paths(data: dict[str, Any], config_file: Path) -> dict[str, Any]:
    """Make local paths of the configuration absolute, relative to its folder."""
    base = config_file.resolve().parent

    def absolute(holder: Any, key: str) -> None:
        if isinstance(holder, dict) and isinstance(holder.get(key), str):
            holder[key] = absolute_path(holder[key], base)

    absolute(data.get("tables"), "path")
    absolute(data.get("tables"), "artifacts")
    absolute(data.get("expand"), "folder")
    report = data.setdefault("report", {})
    if isinstance(report, dict):
        report.setdefault("folder", "./reports")
        absolute(report, "folder")
    ingest = data.get("ingest")
    if isinstance(ingest, dict):
        for kind in ("events", "items", "users", "identities"):
            sources = ingest.get(kind)
            for source in sources if isinstance(sources, list) else []:
                absolute(source, "path")
    return data


def absolute_path(path: str, base: Path) -> str:
    """A path relative to a folder made absolute; URIs (``s3a://…``) and globs stay as they are."""
    if "://" in path:
        return path
    return os.path.normpath(base / Path(path).expanduser())
