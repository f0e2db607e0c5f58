CREATE TABLE IF NOT EXISTS {table} (
  segmentation   STRING NOT NULL COMMENT 'Name of the segmentation',
  as_of          DATE NOT NULL COMMENT 'The row rests on events before midnight of this date in the shop time zone',
  segment_id     STRING NOT NULL COMMENT 'Stable id; cold for users with too few events',
  parent_id      STRING COMMENT 'Not used yet: always null',
  level          INT NOT NULL COMMENT 'Not used yet: always 0',
  name           STRING NOT NULL COMMENT 'Short name, unique within the segmentation and date',
  description    STRING NOT NULL COMMENT 'One or two sentences',
  rule           STRING COMMENT 'Conjunction over user_features that comes closest, as a SQL predicate',
  rule_precision DOUBLE COMMENT 'Share of the users that the rule selects who are members, on held-out users',
  rule_recall    DOUBLE COMMENT 'Share of the members that the rule selects, on held-out users',
  size           BIGINT NOT NULL COMMENT 'Members',
  share          DOUBLE NOT NULL COMMENT 'Members divided by all users of the segmentation',
  cohesion       DOUBLE COMMENT 'Mean cosine of members to the centroid; null for cold',
  name_terms     ARRAY<STRUCT<label: STRING, token: STRING, field: STRING, lift: DOUBLE, held_out_lift: DOUBLE, share: DOUBLE, base_share: DOUBLE>> NOT NULL COMMENT 'The terms of the name with their lift on fitting and on held-out users',
  top_categories ARRAY<STRUCT<label: STRING, token: STRING, field: STRING, lift: DOUBLE, held_out_lift: DOUBLE, share: DOUBLE, base_share: DOUBLE>> NOT NULL COMMENT 'Over-indexed categories by shrunken lift',
  top_brands     ARRAY<STRUCT<label: STRING, token: STRING, field: STRING, lift: DOUBLE, held_out_lift: DOUBLE, share: DOUBLE, base_share: DOUBLE>> NOT NULL COMMENT 'Over-indexed brands by shrunken lift',
  top_items      ARRAY<STRUCT<label: STRING, token: STRING, field: STRING, lift: DOUBLE, held_out_lift: DOUBLE, share: DOUBLE, base_share: DOUBLE>> NOT NULL COMMENT 'Over-indexed items by shrunken lift',
  profile        MAP<STRING, DOUBLE> NOT NULL COMMENT 'Mean of each readable feature over the members',
  base_profile   MAP<STRING, DOUBLE> NOT NULL COMMENT 'Mean of each readable feature over all users',
  model_version  STRING NOT NULL COMMENT 'Encoder of the vectors',
  centroid       ARRAY<FLOAT> COMMENT 'Unit vector in the clustering space; null for cold',
  run_id         STRING NOT NULL COMMENT 'The run that wrote the row, see table runs'
)
USING delta
PARTITIONED BY (as_of, segmentation)
COMMENT 'One segment of one segmentation'
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.logRetentionDuration' = 'interval 400 days',
  'kinsight.schemaVersion' = '1'
)
