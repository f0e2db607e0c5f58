CREATE TABLE IF NOT EXISTS {table} (
  user_id        STRING NOT NULL COMMENT 'Customer',
  valid_from     TIMESTAMP NOT NULL COMMENT 'From when on this row describes the user; 1970-01-01 where the source gives no date',
  attributes     MAP<STRING, STRING> COMMENT 'Attributes such as country or age band',
  consent        MAP<STRING, BOOLEAN> COMMENT 'Consent flags by purpose',
  source_file_id STRING NOT NULL COMMENT 'The file that brought the row',
  run_id         STRING NOT NULL COMMENT 'The run that wrote the row, see table runs'
)
USING delta
COMMENT 'One user as known from valid_from on'
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.logRetentionDuration' = 'interval 400 days',
  'kinsight.schemaVersion' = '1'
)
