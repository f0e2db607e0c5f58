CREATE TABLE IF NOT EXISTS {table} (
  model_version          STRING NOT NULL COMMENT 'Encoder, as-of date and a hash of configuration and weights',
  as_of                  DATE NOT NULL COMMENT 'The row rests on events before midnight of this date in the shop time zone',
  encoder                STRING NOT NULL COMMENT 'Name in the encoder registry',
  objective              STRING NOT NULL COMMENT 'Names and weights of the objectives, none for an untrained encoder',
  config                 STRING NOT NULL COMMENT 'Training configuration as JSON',
  config_hash            STRING NOT NULL COMMENT 'Stable hash of the training configuration',
  vocabulary_version     STRING NOT NULL COMMENT 'The only vocabulary that this model reads',
  dimension              INT NOT NULL COMMENT 'Width of a user vector',
  parameters             BIGINT NOT NULL COMMENT 'Trainable numbers',
  users_trained          BIGINT NOT NULL COMMENT 'Users in the training part',
  users_held_out         BIGINT NOT NULL COMMENT 'Users kept for early stopping',
  training_table_version BIGINT NOT NULL COMMENT 'Delta version of sequences that was read',
  metrics                MAP<STRING, DOUBLE> NOT NULL COMMENT 'Held-out loss and ranking measures, epochs',
  artifact_path          STRING NOT NULL COMMENT 'Folder with model.safetensors and model.json',
  sha256                 STRING NOT NULL COMMENT 'Checksum of model.safetensors',
  status                 STRING NOT NULL COMMENT 'ready; retired is never set by Kinsight',
  created_at             TIMESTAMP NOT NULL COMMENT 'When training ended',
  run_id                 STRING NOT NULL COMMENT 'The run that wrote the row, see table runs'
)
USING delta
COMMENT 'One trained encoder'
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.logRetentionDuration' = 'interval 400 days',
  'kinsight.schemaVersion' = '1',
  'delta.constraints.known_status' = 'status IN (\'ready\', \'retired\')'
)
