CREATE TABLE IF NOT EXISTS {table} (
  audience    STRING NOT NULL COMMENT 'Name of the audience',
  as_of       DATE NOT NULL COMMENT 'The row rests on events before midnight of this date in the shop time zone',
  scorer      STRING NOT NULL COMMENT 'A scorer, auto or fused, or the activity or random line',
  share       DOUBLE NOT NULL COMMENT 'Size as a share of the ranked users',
  reach       BIGINT NOT NULL COMMENT 'Size in users',
  recall      DOUBLE NOT NULL COMMENT 'Share of the hidden seeds found, mean over folds',
  recall_low  DOUBLE NOT NULL COMMENT 'Lower end of the 95 % interval',
  recall_high DOUBLE NOT NULL COMMENT 'Upper end of the 95 % interval',
  lift        DOUBLE NOT NULL COMMENT 'Recall divided by share',
  similarity  DOUBLE COMMENT 'Mean cosine of the users at this size to the seed centre, where there are vectors',
  is_chosen   BOOLEAN NOT NULL COMMENT 'True for the scorer that ranked the members',
  run_id      STRING NOT NULL COMMENT 'The run that wrote the row, see table runs'
)
USING delta
PARTITIONED BY (as_of, audience)
COMMENT 'One point of one held-out curve of one audience'
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.logRetentionDuration' = 'interval 400 days',
  'kinsight.schemaVersion' = '1'
)
