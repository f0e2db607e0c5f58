"""The charts: a small data frame in, an Altair chart out. No Spark; notebooks use them too.

Every function takes ``width``, that of the whole drawing in pixels. Marks carry a ``description``,
which the report shows when a mark is pointed at or reached by the arrow keys.
"""

from kinsight.report.charts.audiences import (
    audience_origin,
    audience_reasons,
    recall_curve,
    similarity_curve,
)
from kinsight.report.charts.choices import choice_curve
from kinsight.report.charts.history import events_over_time, history_lengths
from kinsight.report.charts.movement import movement_matrix, segment_flows
from kinsight.report.charts.parts import AnyChart
from kinsight.report.charts.places import segment_map
from kinsight.report.charts.segments import feature_heatmap, profile, segment_sizes

__all__ = [
    "AnyChart",
    "audience_origin",
    "audience_reasons",
    "choice_curve",
    "events_over_time",
    "feature_heatmap",
    "history_lengths",
    "movement_matrix",
    "profile",
    "recall_curve",
    "segment_flows",
    "segment_map",
    "segment_sizes",
    "similarity_curve",
]
