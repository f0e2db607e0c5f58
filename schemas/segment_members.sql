CREATE TABLE IF NOT EXISTS {table} (
  segmentation      STRING NOT NULL COMMENT 'Name of the segmentation',
  as_of             DATE NOT NULL COMMENT 'The row rests on events before midnight of this date in the shop time zone',
  user_id           STRING NOT NULL COMMENT 'Customer',
  membership_rank   INT NOT NULL COMMENT '0 is the main segment, 1 and more those of further interests',
  segment_id        STRING NOT NULL COMMENT 'Segment, cold included',
  confidence        DOUBLE COMMENT '1 minus distance to the own centroid over distance to the second-best: 0 on the border, 1 at the centre; null for cold',
  distance          DOUBLE COMMENT '1 minus cosine to the centroid; null for cold',
  second_segment_id STRING COMMENT 'Second-best segment; null for cold',
  run_id            STRING NOT NULL COMMENT 'The run that wrote the row, see table runs'
)
USING delta
PARTITIONED BY (as_of, segmentation)
COMMENT 'One user in one segmentation'
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.logRetentionDuration' = 'interval 400 days',
  'kinsight.schemaVersion' = '1',
  'delta.autoOptimize.optimizeWrite' = 'true'
)
