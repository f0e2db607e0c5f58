"""Audiences fitted in the driver, scorers side by side, and in the executors, one a task.

    python -m benchmarks.expand_fits --users 100000 --audiences 8

Both find the same. In local mode the executors are the driver's own cores: this shows what samples
cost on their way through Spark, and the memory of a task, not what more machines bring.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.expand_many import PACKAGES, admit, plant, write_tables
from benchmarks.runner import Contender, compare, report
from kinsight.config import ExpandConfig, SparkConfig
from kinsight.expand.collecting import collect_samples
from kinsight.expand.executor_fits import fit_in_executors
from kinsight.expand.fitting import Expansion, fit_expansion
from kinsight.expand.parallel import side_by_side
from kinsight.expand.scorers.registry import AUTO, SCORERS
from kinsight.spark import build_session

DRIVER, EXECUTORS = "in the driver", "in the executors"


def main() -> None:
    """Parse arguments, measure, save."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.expand_fits", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--audiences", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=1_000, help="seeds an audience")
    parser.add_argument("--scorer", choices=(AUTO, *SCORERS), default=AUTO)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=1, help="rounds that are counted")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--driver-memory", default="3g")
    parser.add_argument("--seed", type=int, default=7)
    o = parser.parse_args()
    planted = plant(o.users, o.width, o.audiences, o.seeds, o.seed)
    config = ExpandConfig(seed=o.seed)
    with tempfile.TemporaryDirectory(prefix="kinsight-bench-") as name:
        folder = Path(name)
        write_tables(planted, folder, 2 * o.cores)
        conf: dict[str, Any] = {"spark.driver.memory": o.driver_memory}
        spark = build_session(SparkConfig(master=f"local[{o.cores}]", conf=conf))
        roster, inputs, admitted = admit(spark, folder, planted, o.scorer, config)
        aucs: list[dict[str, float]] = []

        def in_driver() -> list[Expansion]:
            with side_by_side(o.cores) as at_once:
                samples = collect_samples(roster, inputs, admitted, config)
                return [fit_expansion(one, sample, config, at_once) for one, sample in samples]

        def check(expansions: list[Expansion]) -> dict[str, float]:
            aucs.append({e.audience.name: e.chosen.auc for e in expansions})
            assert aucs[-1] == aucs[0], "the two ways differ"
            return aucs[-1]

        contenders = [
            Contender(DRIVER, "ours", in_driver, check=check),
            Contender(
                EXECUTORS,
                "ours",
                lambda: fit_in_executors(roster, inputs, admitted, config),
                check=check,
            ),
        ]
        found = compare(contenders, o.repeats, warmups=0)
        spark.stop()
    report(
        f"expand_fits_{o.scorer}_{o.audiences}",
        f"Fitting {o.audiences} audiences ({o.scorer})",
        f"{o.users:,} users, {o.seeds:,} seeds an audience, at most {config.background_users:,} of "
        f"the background, {o.cores} cores: samples collected and scorers side by side in "
        f"{o.cores} processes of the driver, or samples sent to {o.cores} tasks at once in "
        "executors that are the same cores here. The held-out AUC of all audiences is the same.",
        found,
        DRIVER,
        [],
        packages=PACKAGES,
        units=(o.audiences, "audiences"),
    )


if __name__ == "__main__":
    main()
