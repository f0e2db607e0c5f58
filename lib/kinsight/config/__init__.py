"""The configuration: frozen models, one a stage, read from one YAML file.

Unknown keys are refused with the nearest known key named. Environment variables override single
values (``KINSIGHT__SEGMENT__SEGMENTS=12``), and relative paths are relative to the file.
"""

from kinsight.config.base import Name, Settings, Share, Zone
from kinsight.config.ingest import (
    EventSourceConfig,
    IdentitySourceConfig,
    IngestConfig,
    ItemSourceConfig,
    SourceConfig,
    UserSourceConfig,
)
from kinsight.config.loading import absolute_path, load_config, parse_settings, read_yaml
from kinsight.config.shop import KinsightConfig, SparkConfig, TablesConfig
from kinsight.config.stages import (
    LEAF,
    ExpandConfig,
    ReportConfig,
    SegmentConfig,
    SegmentNumbers,
    SequenceConfig,
    SizesConfig,
)
from kinsight.config.train import ComponentConfig, EmbedConfig, ObjectiveConfig, TrainConfig

__all__ = [
    "LEAF",
    "ComponentConfig",
    "EmbedConfig",
    "EventSourceConfig",
    "ExpandConfig",
    "IdentitySourceConfig",
    "IngestConfig",
    "ItemSourceConfig",
    "KinsightConfig",
    "Name",
    "ObjectiveConfig",
    "ReportConfig",
    "SegmentConfig",
    "SegmentNumbers",
    "SequenceConfig",
    "Settings",
    "Share",
    "SizesConfig",
    "SourceConfig",
    "SparkConfig",
    "TablesConfig",
    "TrainConfig",
    "UserSourceConfig",
    "Zone",
    "absolute_path",
    "load_config",
    "parse_settings",
    "read_yaml",
]
