CREATE TABLE IF NOT EXISTS {table} (
  audience   STRING NOT NULL COMMENT 'Name of the audience',
  as_of      DATE NOT NULL COMMENT 'The row rests on events before midnight of this date in the shop time zone',
  user_id    STRING NOT NULL COMMENT 'Customer',
  score      DOUBLE NOT NULL COMMENT 'Score of the chosen scorer; comparable within one audience and date only',
  rank       BIGINT NOT NULL COMMENT '1 is the most similar; ties by user id hash; 0 for kept seeds',
  percentile DOUBLE NOT NULL COMMENT 'Rank divided by the number of ranked users; 0 for kept seeds',
  probability DOUBLE COMMENT 'How likely the user belongs to those of whom the seeds are a random part (Elkan and Noto); too high where the verdict is weak; 1 for kept seeds; null in rows of an older Kinsight',
  level      STRING NOT NULL COMMENT 'Smallest size level that holds the user; seed for kept seeds',
  is_seed    BOOLEAN NOT NULL COMMENT 'True where the user was a seed and seeds are kept',
  run_id     STRING NOT NULL COMMENT 'The run that wrote the row, see table runs'
)
USING delta
PARTITIONED BY (as_of, audience)
COMMENT 'One user in one audience'
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.logRetentionDuration' = 'interval 400 days',
  'kinsight.schemaVersion' = '1'
)
