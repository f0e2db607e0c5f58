CREATE TABLE IF NOT EXISTS {table} (
  segmentation  STRING NOT NULL COMMENT 'Name of the segmentation',
  as_of         DATE NOT NULL COMMENT 'The row rests on events before midnight of this date in the shop time zone',
  segments      INT NOT NULL COMMENT 'A number of segments that was tried; the only one where the configuration fixes it',
  silhouette    DOUBLE NOT NULL COMMENT 'Mean silhouette by cosine on sampled users: -1 to 1, higher where segments stand apart',
  stability     DOUBLE NOT NULL COMMENT 'Adjusted Rand index of the segments made on two halves of the sampled users, mean of the splits: 1 same segments, 0 chance',
  stability_std DOUBLE NOT NULL COMMENT 'Standard deviation of the stability over the splits',
  is_chosen     BOOLEAN NOT NULL COMMENT 'Whether the segmentation of the date was made with it',
  choice_reason STRING COMMENT 'Why this number was chosen; null for the others',
  run_id        STRING NOT NULL COMMENT 'The run that wrote the row, see table runs'
)
USING delta
PARTITIONED BY (as_of, segmentation)
COMMENT 'How each number of segments did that a run could have chosen'
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.logRetentionDuration' = 'interval 400 days',
  'kinsight.schemaVersion' = '1'
)
