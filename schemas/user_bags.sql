CREATE TABLE IF NOT EXISTS {table} (
  user_id            STRING NOT NULL COMMENT 'Customer',
  as_of              DATE NOT NULL COMMENT 'The row rests on events before midnight of this date in the shop time zone',
  vocabulary_version STRING NOT NULL COMMENT 'Vocabulary of the indices',
  events             BIGINT NOT NULL COMMENT 'Events counted: all in the lookback window after the hot-user cap',
  bags               MAP<STRING, STRUCT<tokens: ARRAY<INT>, counts: ARRAY<FLOAT>, odd_days: ARRAY<FLOAT>>> NOT NULL COMMENT 'By vocabulary field (item, brand, category_1 to category_N, and the crosses that sequence.crosses names, such as brand_in_category): token indices, ascending, events with each, and those of them on odd days since 1970 in the shop time zone (segments check themselves on one half of the days)',
  run_id             STRING NOT NULL COMMENT 'The run that wrote the row, see table runs'
)
USING delta
PARTITIONED BY (as_of, vocabulary_version)
COMMENT 'How often one user met each token, by field'
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.logRetentionDuration' = 'interval 400 days',
  'kinsight.schemaVersion' = '1'
)
