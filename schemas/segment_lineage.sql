CREATE TABLE IF NOT EXISTS {table} (
  segmentation   STRING NOT NULL COMMENT 'Name of the segmentation',
  as_of          DATE NOT NULL COMMENT 'The row rests on events before midnight of this date in the shop time zone',
  previous_as_of DATE COMMENT 'Date compared with; null on the first',
  previous_id    STRING COMMENT 'Segment of the previous date; null where born',
  segment_id     STRING COMMENT 'Segment of this date; null where retired',
  kind           STRING NOT NULL COMMENT 'continued, born, split, merged or retired',
  users_common   BIGINT NOT NULL COMMENT 'Users in both',
  overlap        DOUBLE NOT NULL COMMENT 'Jaccard index of the members known at both dates',
  run_id         STRING NOT NULL COMMENT 'The run that wrote the row, see table runs'
)
USING delta
PARTITIONED BY (as_of, segmentation)
COMMENT 'How segment ids passed from the previous date to this one'
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.logRetentionDuration' = 'interval 400 days',
  'kinsight.schemaVersion' = '1',
  'delta.constraints.known_kind' = 'kind IN (\'continued\', \'born\', \'split\', \'merged\', \'retired\')'
)
