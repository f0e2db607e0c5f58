"""The reference pages of the docs, made from the code: configuration and tables.

Example:
    ``python -m kinsight.reference docs`` writes ``configuration.md`` and ``tables.md``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from kinsight import config
from kinsight.encoders.registry import ENCODERS
from kinsight.expand.definition import AudienceDefinition, SeedSource, TruthSource, UserSource
from kinsight.objectives.registry import OBJECTIVES
from kinsight.tables import table_ddl, table_names

_MADE = "<!-- Made by `python -m kinsight.reference docs`; edit the code, not this page. -->\n"
_SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("(top level)", config.KinsightConfig),
    ("tables", config.TablesConfig),
    ("spark", config.SparkConfig),
    ("ingest", config.IngestConfig),
    ("ingest.events", config.EventSourceConfig),
    ("ingest.items", config.ItemSourceConfig),
    ("ingest.users", config.UserSourceConfig),
    ("ingest.identities", config.IdentitySourceConfig),
    ("sequence", config.SequenceConfig),
    ("train", config.TrainConfig),
    ("embed", config.EmbedConfig),
    ("segment", config.SegmentConfig),
    ("segment.segments", config.SegmentNumbers),
    ("expand", config.ExpandConfig),
    ("expand.sizes", config.SizesConfig),
    ("report", config.ReportConfig),
    *((f"train.encoder: {name}", ENCODERS[name].options_type) for name in sorted(ENCODERS)),
    *((f"train.objective: {name}", OBJECTIVES[name].options_type) for name in sorted(OBJECTIVES)),
    ("audience file", AudienceDefinition),
    ("audience file: seeds", SeedSource),
    ("audience file: eligible, suppress", UserSource),
    ("audience file: truth", TruthSource),
)


def configuration_page() -> str:
    """Every key of the configuration with its default and meaning, as Markdown."""
    parts = [
        _MADE,
        "# Configuration\n\nOne YAML file a shop. Paths are relative to the file. A value can "
        "be overridden by an environment variable, read as YAML, such as "
        "`KINSIGHT__SEGMENT__SEGMENTS=12`; lists, and maps such as `spark.conf`, only as a whole. "
        "An unknown key is refused with the nearest known one named.\n",
    ]
    for name, model in _SECTIONS:
        parts.append(f"## `{name}`\n\n{_first_paragraph(model)}\n")
        parts.append("| key | default | meaning |\n|---|---|---|")
        parts += [
            f"| `{field.alias or key}` | {_default(field)} | {_meaning(field)} |"
            for key, field in model.model_fields.items()
        ]
        parts.append("")
    return "\n".join(parts)


def tables_page() -> str:
    """Every table with its columns and their comments, as Markdown."""
    parts = [_MADE, "# Tables\n\nMade from `schemas/*.sql`, which Kinsight executes.\n"]
    for name in table_names():
        ddl = table_ddl(name)
        comment = re.search(r"^COMMENT '(.*)'$", ddl, re.MULTILINE)
        partition = re.search(r"^PARTITIONED BY \((.*)\)$", ddl, re.MULTILINE)
        parts.append(f"## `{name}`\n\n{comment.group(1) if comment else ''}.")
        if partition:
            parts.append(f"Partitioned by `{partition.group(1)}`.")
        parts.append("\n| column | type | meaning |\n|---|---|---|")
        columns = re.findall(r"^  (\S+) +(.+?)( NOT NULL)? COMMENT '(.*)',?$", ddl, re.MULTILINE)
        parts += [f"| `{c}` | `{t}` | {meaning} |" for c, t, _, meaning in columns]
        parts.append("")
    return "\n".join(parts)


def _first_paragraph(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")


def _meaning(field: FieldInfo) -> str:
    """What a key means, and its values where only certain ones are allowed."""
    values = [f"`{value}`" for value in _allowed(field.annotation)]
    which = "Any" if get_origin(field.annotation) is list else "One"
    allowed = f"{which} of {', '.join(values)}." if values else ""
    return " ".join(part for part in (field.description or "", allowed) if part)


def _allowed(annotation: Any) -> list[str]:
    """The values that the literals in an annotation name."""
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [value for inner in get_args(annotation) for value in _allowed(inner)]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        dumped = value.model_dump()
        # A plain number, where the settings have such a short form.
        value = None if isinstance(dumped, dict) else dumped
    if value is PydanticUndefined or value is None:
        return ""
    if isinstance(value, list) and value and isinstance(value[0], BaseModel):
        value = [item.model_dump(exclude_defaults=True) for item in value]
    return f"`{value}`"


def main(folder: Path) -> None:
    """Write both pages into a folder."""
    (folder / "configuration.md").write_text(configuration_page(), encoding="utf-8")
    (folder / "tables.md").write_text(tables_page(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
