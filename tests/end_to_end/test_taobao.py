"""jobs/conf/taobao.yaml on real clicks, carts, favourites and purchases."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from pyspark.sql import SparkSession

from kinsight.resources import resource
from tests.end_to_end.conftest import Command, open_shop

DATA = Path(os.environ.get("KINSIGHT_DATA", "no such folder")) / "taobao2017" / "events.parquet"
NAMES = {"click": "pv", "cart": "cart", "favourite": "fav", "purchase": "buy"}


@pytest.mark.skipif(not DATA.exists(), reason=f"KINSIGHT_DATA has no taobao2017: {DATA}")
def test_the_taobao_log_becomes_segments(
    kinsight: Command, spark: SparkSession, tmp_path: Path
) -> None:
    events = pd.read_parquet(DATA)
    as_published = pd.DataFrame(
        {
            "user": events["user_id"],
            "item": events["item_id"],
            "category": events["category"],
            "behaviour": events["event_type"].map(NAMES),
            "seconds": events["event_time"].astype("int64") // 10**6,
        }
    )
    as_published.to_csv(tmp_path / "UserBehavior.csv", index=False, header=False)
    config = tmp_path / "taobao.yaml"
    shutil.copyfile(resource("conf", "taobao.yaml"), config)
    settings = yaml.safe_load(config.read_text()) | {"train": {"epochs": 1}}
    config.write_text(yaml.safe_dump(settings))

    outcome = kinsight("run", "-c", config, "--as-of", "2017-12-03", "-q")
    assert outcome.code == 0, outcome.screen
    tables = open_shop(spark, config).tables
    stored = {
        r["event_type"]: r["count"]
        for r in tables.read("events").groupBy("event_type").count().collect()
    }
    assert stored == events["event_type"].value_counts().to_dict()
    midnight = pd.Timestamp("2017-12-03", tz="Asia/Shanghai")
    before = events[events["event_time"] < midnight]
    members = tables.read("segment_members").where("membership_rank = 0")
    assert members.count() == before["user_id"].nunique()
    features = tables.read("user_features").agg({"events": "sum"}).first()
    assert features is not None
    assert features[0] == len(before)
