CREATE TABLE IF NOT EXISTS {table} (
  user_id       STRING NOT NULL COMMENT 'Customer',
  as_of         DATE NOT NULL COMMENT 'The row rests on events before midnight of this date in the shop time zone',
  model_version STRING NOT NULL COMMENT 'The encoder; vectors of two versions are never compared',
  interest      INT NOT NULL COMMENT '0 unless the encoder gives several vectors a user',
  weight        FLOAT NOT NULL COMMENT 'Share of this vector among those of the user',
  events_used   INT NOT NULL COMMENT 'Events that the encoder read',
  norm          FLOAT NOT NULL COMMENT 'Euclidean norm of the vector',
  vector        ARRAY<FLOAT> NOT NULL COMMENT 'The vector as the encoder gives it, not normalised',
  run_id        STRING NOT NULL COMMENT 'The run that wrote the row, see table runs'
)
USING delta
PARTITIONED BY (as_of, model_version)
COMMENT 'One vector of one user'
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.logRetentionDuration' = 'interval 400 days',
  'kinsight.schemaVersion' = '1',
  'delta.autoOptimize.optimizeWrite' = 'true'
)
