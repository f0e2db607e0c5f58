CREATE TABLE IF NOT EXISTS {table} (
  user_id        STRING NOT NULL COMMENT 'Customer, or the anonymous id of a visitor; `sequence` applies table identities',
  event_time     TIMESTAMP NOT NULL COMMENT 'When it happened (UTC instant)',
  event_id       STRING NOT NULL COMMENT 'The mapped id, or row- and a hash of the content, with its number where identical rows of a file follow',
  event_type     STRING NOT NULL COMMENT 'view, click, cart, favourite, purchase, return, redeem or another configured name',
  item_id        STRING COMMENT 'Item, where the event has one',
  category       STRING COMMENT 'Category given by the event itself',
  brand          STRING COMMENT 'Brand given by the event itself',
  price          DOUBLE COMMENT 'Price of one unit in the currency of the shop',
  quantity       DOUBLE COMMENT 'Units, at least 0; a return has event_type return',
  session_id     STRING NOT NULL COMMENT 'The mapped session, or gap- and a hash of the user and the start of a session by inactivity',
  channel        STRING COMMENT 'Web, app, store and the like',
  country        STRING COMMENT 'Country of the event',
  event_date     DATE NOT NULL COMMENT 'UTC date of event_time; the partition',
  source_file_id STRING NOT NULL COMMENT 'The file that brought the row, see table ingested_files',
  run_id         STRING NOT NULL COMMENT 'The run that wrote the row, see table runs'
)
USING delta
PARTITIONED BY (event_date)
COMMENT 'One canonical event of a user'
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.logRetentionDuration' = 'interval 400 days',
  'kinsight.schemaVersion' = '1',
  'delta.constraints.price_not_negative' = 'price IS NULL OR price >= 0',
  'delta.constraints.quantity_not_negative' = 'quantity IS NULL OR quantity >= 0',
  'delta.constraints.event_date_matches' = 'event_date = CAST(event_time AS DATE)'
)
