CREATE TABLE IF NOT EXISTS {table} (
  audience         STRING NOT NULL COMMENT 'Name of the audience',
  as_of            DATE NOT NULL COMMENT 'The row rests on events before midnight of this date in the shop time zone',
  status           STRING NOT NULL COMMENT 'published or refused',
  refusal_reason   STRING COMMENT 'What was expected, found and to do; null where published',
  seeds_sent       BIGINT NOT NULL COMMENT 'Rows of the seed list',
  seeds_duplicate  BIGINT NOT NULL COMMENT 'Rows that repeat an id',
  seeds_unknown    BIGINT NOT NULL COMMENT 'Ids without history at this date',
  seeds_ineligible BIGINT NOT NULL COMMENT 'Known ids outside the eligible users or suppressed',
  seeds_matched    BIGINT NOT NULL COMMENT 'Ids that the expansion learned from',
  seeds_needed     BIGINT NOT NULL COMMENT 'Matched seeds that the gate asks for',
  users_eligible   BIGINT NOT NULL COMMENT 'Eligible, unsuppressed users with history, seeds included',
  users_suppressed BIGINT NOT NULL COMMENT 'Eligible users removed by suppression',
  members          BIGINT NOT NULL COMMENT 'Rows written to audience_members',
  scorer           STRING COMMENT 'What ranked the members: a scorer, auto or fused',
  scorer_reason    STRING COMMENT 'Why this scorer',
  scorers          ARRAY<STRUCT<scorer: STRING, auc: DOUBLE, auc_std: DOUBLE, recall: DOUBLE, lift: DOUBLE, seconds: DOUBLE>> NOT NULL COMMENT 'Held-out measures of each scorer, of auto or fused, activity and random, recall and lift at the reference level; auc_std is the standard error of the AUC',
  scorer_weights   MAP<STRING, DOUBLE> NOT NULL COMMENT 'Weight of each scorer in the ranking of the members; together 1, empty where refused',
  reference_share  DOUBLE COMMENT 'Size level of the recall and lift in scorers',
  verdict          STRING COMMENT 'none, weak, fair or strong',
  verdict_text     STRING COMMENT 'The verdict in words',
  levels           ARRAY<STRUCT<level: STRING, share: DOUBLE, reach: BIGINT, score_threshold: DOUBLE, mean_score: DOUBLE, held_out_recall: DOUBLE, held_out_lift: DOUBLE>> NOT NULL COMMENT 'Nested size levels, smallest first',
  reasons          ARRAY<STRUCT<label: STRING, token: STRING, field: STRING, lift: DOUBLE, share: DOUBLE, base_share: DOUBLE>> NOT NULL COMMENT 'What the matched seeds do more than the base (eligible, unsuppressed users without the seeds), the most telling first; share and base_share: for a field of the vocabulary, the mean over users of the share of their events of that field; for field trait, the share of users in the top or bottom fifth of the base by the feature in token; lift is shrunken by its uncertainty; empty where refused or where nothing is sure',
  churn            DOUBLE COMMENT 'Share of the previous members of the largest level that left; null on the first date',
  previous_as_of   DATE COMMENT 'Date that churn compares with',
  valid_until      DATE COMMENT 'Last date on which the list should be used',
  model_version    STRING NOT NULL COMMENT 'Encoder of the vectors',
  run_id           STRING NOT NULL COMMENT 'The run that wrote the row, see table runs'
)
USING delta
PARTITIONED BY (as_of)
COMMENT 'One expansion of one seed list'
TBLPROPERTIES (
  'delta.enableDeletionVectors' = 'false',
  'delta.deletedFileRetentionDuration' = 'interval 30 days',
  'delta.logRetentionDuration' = 'interval 400 days',
  'kinsight.schemaVersion' = '1',
  'delta.constraints.known_status' = 'status IN (\'published\', \'refused\')'
)
