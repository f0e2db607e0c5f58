CREATE TABLE IF NOT EXISTS {table} (
  anonymous_id   STRING NOT NULL COMMENT 'An id that events carry in place of a customer, such as a cookie or a device',
  user_id        STRING NOT NULL COMMENT 'The customer that it belongs to',
  known_from     TIMESTAMP NOT NULL COMMENT 'When the link became known, such as the login; as-of instants up to and including it do not see the row. valid_from where the source has no such column',
  valid_from     TIMESTAMP NOT NULL COMMENT 'Events from this instant on belong to the customer; 1970-01-01 where the source gives none, so that clicks before the login count',
  valid_to       TIMESTAMP COMMENT 'Events from this instant on no longer do; null: no end. Of rows with the same ids and valid_from the one known last decides',
  source_file_id STRING NOT NULL COMMENT 'The file that brought the row',
  run_id         STRING NOT NULL COMMENT 'The run that wrote the row, see table runs'
)
USING delta
COMMENT 'One link from an anonymous id to a customer; a row a login is fine'
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.logRetentionDuration' = 'interval 400 days',
  'kinsight.schemaVersion' = '1',
  'delta.constraints.ends_after_it_begins' = 'valid_to IS NULL OR valid_to > valid_from'
)
