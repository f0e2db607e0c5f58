CREATE TABLE IF NOT EXISTS {table} (
  user_id            STRING NOT NULL COMMENT 'Customer',
  as_of              DATE NOT NULL COMMENT 'The row rests on events before midnight of this date in the shop time zone',
  vocabulary_version STRING NOT NULL COMMENT 'Vocabulary of the indices',
  length             INT NOT NULL COMMENT 'Events in the arrays',
  events_total       BIGINT NOT NULL COMMENT 'Events in the lookback window before the cut to the maximum length',
  first_event_time   TIMESTAMP NOT NULL COMMENT 'Earliest event in the arrays',
  last_event_time    TIMESTAMP NOT NULL COMMENT 'Latest event in the arrays',
  item               ARRAY<INT> NOT NULL COMMENT 'Item indices',
  event_type         ARRAY<INT> NOT NULL COMMENT 'Event type indices',
  category           ARRAY<INT> NOT NULL COMMENT 'Indices of the configured category level',
  brand              ARRAY<INT> NOT NULL COMMENT 'Brand indices',
  price              ARRAY<INT> NOT NULL COMMENT 'Price bucket indices',
  hour_of_week       ARRAY<INT> NOT NULL COMMENT '1 + 24 x weekday (Monday 0) + hour, in the shop time zone',
  seconds            ARRAY<BIGINT> NOT NULL COMMENT 'Event time in seconds since 1970-01-01 UTC; equal values have no order',
  run_id             STRING NOT NULL COMMENT 'The run that wrote the row, see table runs'
)
USING delta
PARTITIONED BY (as_of, vocabulary_version)
COMMENT 'The history of one user as equal-length arrays, oldest event first'
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.logRetentionDuration' = 'interval 400 days',
  'kinsight.schemaVersion' = '1',
  'delta.constraints.equal_lengths' = 'length > 0 AND size(item) = length AND size(event_type) = length AND size(category) = length AND size(brand) = length AND size(price) = length AND size(hour_of_week) = length AND size(seconds) = length'
)
