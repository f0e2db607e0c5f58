"""What all configuration models share: frozen settings, and the types of their values."""

from __future__ import annotations

import difflib
import hashlib
import json
from typing import Annotated, Any
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def _known_zone(zone: str) -> str:
    if zone not in available_timezones():
        near = difflib.get_close_matches(zone, available_timezones(), 1)
        raise ValueError(f"not a time zone{f'; did you mean {near[0]}?' if near else ''}")
    return zone


def _as_text(values: Any) -> Any:
    """Numbers and truth values of YAML as Spark writes them: 2000, true."""
    if not isinstance(values, dict):
        return values
    return {
        key: json.dumps(value) if isinstance(value, (bool, int, float)) else value
        for key, value in values.items()
    }


Share = Annotated[float, Field(gt=0, le=1)]
Zone = Annotated[str, AfterValidator(_known_zone)]
Texts = Annotated[dict[str, str], BeforeValidator(_as_text)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]


class Settings(BaseModel):
    """Base of all configuration models: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def stable_hash(self) -> str:
        """Twelve hex digits that change only when a value changes."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
