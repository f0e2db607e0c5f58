CREATE TABLE IF NOT EXISTS {table} (
  item_id        STRING NOT NULL COMMENT 'Item',
  valid_from     TIMESTAMP NOT NULL COMMENT 'From when on this row describes the item; 1970-01-01 where the source gives no date',
  category       ARRAY<STRING> COMMENT 'Category path, root first',
  brand          STRING COMMENT 'Brand',
  title          STRING COMMENT 'What a person reads',
  price          DOUBLE COMMENT 'List price of one unit',
  attributes     MAP<STRING, STRING> COMMENT 'Further attributes',
  content_vector ARRAY<FLOAT> COMMENT 'Not filled yet: always null',
  source_file_id STRING NOT NULL COMMENT 'The file that brought the row',
  run_id         STRING NOT NULL COMMENT 'The run that wrote the row, see table runs'
)
USING delta
COMMENT 'One item as it was known from valid_from on'
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.logRetentionDuration' = 'interval 400 days',
  'kinsight.schemaVersion' = '1'
)
