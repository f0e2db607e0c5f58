CREATE TABLE IF NOT EXISTS {table} (
  user_id            STRING NOT NULL COMMENT 'Customer',
  as_of              DATE NOT NULL COMMENT 'The row rests on events before midnight of this date in the shop time zone',
  recency_days       DOUBLE NOT NULL COMMENT 'Days from the last event to the as-of instant',
  tenure_days        DOUBLE NOT NULL COMMENT 'Days from the first event in the lookback window to the as-of instant',
  frequency          BIGINT NOT NULL COMMENT 'Distinct days with an event, in the shop time zone',
  monetary           DOUBLE NOT NULL COMMENT 'Price x quantity of purchases less that of returns',
  events             BIGINT NOT NULL COMMENT 'Events in the lookback window, after the hot-user cap',
  sessions           BIGINT NOT NULL COMMENT 'Distinct sessions',
  purchases          BIGINT NOT NULL COMMENT 'Purchase events',
  returns            BIGINT NOT NULL COMMENT 'Return events',
  items              BIGINT NOT NULL COMMENT 'Distinct items',
  categories         BIGINT NOT NULL COMMENT 'Distinct categories of the configured level',
  brands             BIGINT NOT NULL COMMENT 'Distinct brands',
  average_price      DOUBLE COMMENT 'Mean price of one unit over events with a price',
  events_per_session DOUBLE NOT NULL COMMENT 'Events divided by sessions',
  weekend_share      DOUBLE NOT NULL COMMENT 'Share of events on Saturday or Sunday',
  morning_share      DOUBLE NOT NULL COMMENT 'Share of events from 05:00 to 11:59',
  afternoon_share    DOUBLE NOT NULL COMMENT 'Share of events from 12:00 to 16:59',
  evening_share      DOUBLE NOT NULL COMMENT 'Share of events from 17:00 to 21:59',
  night_share        DOUBLE NOT NULL COMMENT 'Share of events from 22:00 to 04:59',
  type_shares        MAP<STRING, DOUBLE> NOT NULL COMMENT 'Share of events by event type',
  category_shares    MAP<STRING, DOUBLE> NOT NULL COMMENT 'Share of events by root category, the largest ones',
  hour_shares        ARRAY<DOUBLE> NOT NULL COMMENT 'Share of events by hour of day, 24 values',
  weekday_shares     ARRAY<DOUBLE> NOT NULL COMMENT 'Share of events by weekday, Monday first, 7 values',
  is_hot             BOOLEAN NOT NULL COMMENT 'True where the user had more events than the cap and was cut to the latest ones',
  run_id             STRING NOT NULL COMMENT 'The run that wrote the row, see table runs'
)
USING delta
PARTITIONED BY (as_of)
COMMENT 'Readable numbers of one user'
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.logRetentionDuration' = 'interval 400 days',
  'kinsight.schemaVersion' = '1'
)
