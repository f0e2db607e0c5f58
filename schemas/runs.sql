CREATE TABLE IF NOT EXISTS {table} (
  run_id        STRING NOT NULL COMMENT 'Start time, stage and a random part',
  stage         STRING NOT NULL COMMENT 'ingest, sequence, train, embed, segment, expand or report',
  status        STRING NOT NULL COMMENT 'succeeded, refused or failed',
  as_of         DATE COMMENT 'Date of the run; null for ingest',
  as_of_instant TIMESTAMP COMMENT 'Midnight of as_of in the shop time zone, as UTC instant',
  shop_timezone STRING NOT NULL COMMENT 'Time zone of the shop',
  producer      MAP<STRING, ARRAY<STRING>> NOT NULL COMMENT 'What was produced: vocabulary_version, model_version, segmentation, audience; of sequences the category_level',
  inputs        ARRAY<STRUCT<table: STRING, version: BIGINT>> NOT NULL COMMENT 'Tables read, with their Delta versions; `source NAME` for a Delta source of ingest',
  outputs       ARRAY<STRUCT<table: STRING, version: BIGINT>> NOT NULL COMMENT 'Tables written, with the Delta versions to read',
  counts        MAP<STRING, BIGINT> NOT NULL COMMENT 'Rows in, out, quarantined and the like',
  metrics       MAP<STRING, DOUBLE> NOT NULL COMMENT 'Measures of the run',
  warnings      ARRAY<STRING> NOT NULL COMMENT 'What a person should look at',
  message       STRING COMMENT 'Why it was refused or failed',
  config_hash   STRING NOT NULL COMMENT 'Stable hash of the stage configuration',
  config        STRING NOT NULL COMMENT 'Stage configuration as JSON',
  code_version  STRING NOT NULL COMMENT 'Version of kinsight',
  started_at    TIMESTAMP NOT NULL COMMENT 'Start',
  finished_at   TIMESTAMP NOT NULL COMMENT 'End'
)
USING delta
COMMENT 'One job run, appended last; only runs with status succeeded are read from'
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.logRetentionDuration' = 'interval 400 days',
  'kinsight.schemaVersion' = '1',
  'delta.constraints.known_status' = 'status IN (\'succeeded\', \'refused\', \'failed\')'
)
