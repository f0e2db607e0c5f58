CREATE TABLE IF NOT EXISTS {table} (
  source            STRING NOT NULL COMMENT 'Name of the source in the configuration',
  kind              STRING NOT NULL COMMENT 'events, items, users or identities',
  source_file_id    STRING NOT NULL COMMENT 'Modification time and a hash of source, path, size, modification time and, of a Delta file, its deleted rows',
  path              STRING NOT NULL COMMENT 'Where the file was read',
  size_bytes        BIGINT NOT NULL COMMENT 'Size of the file in bytes',
  modified_at       TIMESTAMP NOT NULL COMMENT 'Modification time of the file',
  rows_read         BIGINT NOT NULL COMMENT 'Rows in the file',
  rows_accepted     BIGINT NOT NULL COMMENT 'Rows that reached the target table',
  rows_quarantined  BIGINT NOT NULL COMMENT 'Rows refused with a reason',
  rows_deduplicated BIGINT NOT NULL COMMENT 'Rows left out because their mapped event id was already there',
  rows_identical    BIGINT NOT NULL COMMENT 'Accepted rows equal to an earlier row of the same file in every mapped column (kept)',
  first_event_time  TIMESTAMP COMMENT 'Earliest accepted event; null for other kinds',
  last_event_time   TIMESTAMP COMMENT 'Latest accepted event; null for other kinds',
  ingested_at       TIMESTAMP NOT NULL COMMENT 'When the file was read',
  run_id            STRING NOT NULL COMMENT 'The run that wrote the row, see table runs'
)
USING delta
COMMENT 'One row a source file that was read'
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.logRetentionDuration' = 'interval 400 days',
  'kinsight.schemaVersion' = '1',
  'delta.constraints.counts_add_up' = 'rows_read = rows_accepted + rows_quarantined + rows_deduplicated'
)
