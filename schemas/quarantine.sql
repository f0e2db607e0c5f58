CREATE TABLE IF NOT EXISTS {table} (
  source         STRING NOT NULL COMMENT 'Name of the source in the configuration',
  kind           STRING NOT NULL COMMENT 'events, items, users or identities',
  source_file_id STRING NOT NULL COMMENT 'The file that held the row',
  path           STRING NOT NULL COMMENT 'Where the file was read',
  reason         STRING NOT NULL COMMENT 'Why the row was refused',
  raw            STRING NOT NULL COMMENT 'The row as it was read, as JSON',
  quarantined_at TIMESTAMP NOT NULL COMMENT 'When it was refused',
  run_id         STRING NOT NULL COMMENT 'The run that wrote the row, see table runs'
)
USING delta
COMMENT 'One refused raw row'
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.logRetentionDuration' = 'interval 400 days',
  'kinsight.schemaVersion' = '1'
)
