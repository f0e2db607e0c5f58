"""The whole configuration of one shop."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from pydantic import Field, model_validator
from typing_extensions import Self

from kinsight.config.base import Name, Settings, Texts, Zone
from kinsight.config.ingest import IngestConfig
from kinsight.config.stages import ExpandConfig, ReportConfig, SegmentConfig, SequenceConfig
from kinsight.config.train import EmbedConfig, TrainConfig


class TablesConfig(Settings):
    """Where the Delta tables live: a folder, or a catalogue schema. Exactly one of the two."""

    path: str | None = Field(None, description="Folder or URI; each table is PATH/NAME.")
    catalogue_schema: str | None = Field(
        None,
        alias="schema",
        description="Catalogue schema such as spark_catalog.kinsight, in a metastore that outlives "
        "the session; the files of spark-conf set none.",
    )
    artifacts: str | None = Field(
        None, description="Folder for model files; PATH/_models by default, needed with `schema`."
    )

    @model_validator(mode="after")
    def _exactly_one_root(self) -> Self:
        if (self.path is None) == (self.catalogue_schema is None):
            raise ValueError("give either `path` or `schema`, not both and not neither")
        if self.path is None and self.artifacts is None:
            raise ValueError("`artifacts` (a folder for model files) is needed with `schema`")
        return self

    @property
    def artifact_root(self) -> str:
        """Folder that holds one folder a model version."""
        return self.artifacts or f"{self.path}/_models"


class SparkConfig(Settings):
    """Spark properties laid over those that ship for the master."""

    master: str | None = Field(
        None,
        description="Such as local[4] or spark://HOST:7077, which chooses the file of spark-conf; "
        "spark-submit's master wins.",
    )
    conf: Texts = Field(
        default_factory=dict,
        description="Further Spark properties. Under spark-submit none of them counts: it has its "
        "own, from --properties-file and --conf. In a session that runs already (notebook, "
        "Databricks) only spark.sql.* does.",
    )
    wait_for_executors_minutes: float = Field(
        30,
        gt=0,
        description="A stage fails when its work waits this long and the cluster gives no "
        "executor.",
    )


class KinsightConfig(Settings):
    """The whole configuration of one shop."""

    shop: Name = Field("shop", description="Name shown in the report.")
    shop_timezone: Zone = Field("UTC", description="Where midnight lies; hours and weekdays too.")
    tables: TablesConfig
    spark: SparkConfig = SparkConfig()
    ingest: IngestConfig
    sequence: SequenceConfig = SequenceConfig()
    train: TrainConfig = TrainConfig()
    embed: EmbedConfig = EmbedConfig()
    segment: SegmentConfig = SegmentConfig()
    expand: ExpandConfig = ExpandConfig()
    report: ReportConfig = ReportConfig()

    @property
    def zone(self) -> ZoneInfo:
        """The shop's time zone."""
        return ZoneInfo(self.shop_timezone)
