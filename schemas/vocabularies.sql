CREATE TABLE IF NOT EXISTS {table} (
  vocabulary_version STRING NOT NULL COMMENT 'Version; never changed once published',
  field              STRING NOT NULL COMMENT 'item, event_type, brand, category_1 (root) to category_N (leaf), price, or a cross such as brand_in_category',
  token              STRING NOT NULL COMMENT 'The value; for categories the path joined by " > "; for price the number of the bucket',
  index              INT NOT NULL COMMENT 'Index in the arrays of sequences and bags; 0 is padding, 1 unknown, so tokens begin at 2',
  bucket             INT NOT NULL COMMENT 'Hash bucket of the token, for encoders that read unknown indices by bucket; none of the present ones does',
  frequency          BIGINT NOT NULL COMMENT 'Events with this token in the lookback window',
  users              BIGINT NOT NULL COMMENT 'Users with this token in the lookback window',
  upper_edge         DOUBLE COMMENT 'For price: the upper edge of the bucket, inclusive; null for the last',
  label              STRING NOT NULL COMMENT 'What a person reads: the item title, the last part of a category path, the token itself',
  as_of              DATE NOT NULL COMMENT 'The row rests on events before midnight of this date in the shop time zone',
  run_id             STRING NOT NULL COMMENT 'The run that wrote the row, see table runs'
)
USING delta
PARTITIONED BY (vocabulary_version)
COMMENT 'One token of one immutable vocabulary version'
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.logRetentionDuration' = 'interval 400 days',
  'kinsight.schemaVersion' = '1',
  'delta.constraints.index_from_two' = 'index >= 2'
)
