-- How often SDKs asked and evaluated. These tables may be in a database of their own (ANALYTICS_DATABASE_URL), so they refer
-- to nothing: environments by id, features by name.

-- Batches of edges whose counts are in the tables below.
CREATE TABLE usage_batch (
    id          text        PRIMARY KEY,
    taken_at    timestamptz NOT NULL
);
CREATE INDEX usage_batch_taken_at ON usage_batch (taken_at);

-- As it was counted. `quarter` is the quarter of an hour that the minute is in.
CREATE TABLE request_raw (
    environment_id  bigint      NOT NULL,
    resource        smallint    NOT NULL,   -- 1 flags, 2 identities, 3 traits, 4 environment-document
    host            text        NOT NULL,
    labels          jsonb       NOT NULL,
    minute          timestamptz NOT NULL,
    quarter         timestamptz NOT NULL,
    count           bigint      NOT NULL
);
CREATE INDEX request_raw_quarter ON request_raw (quarter);

CREATE TABLE evaluation_raw (
    environment_id          bigint      NOT NULL,
    feature_name            text        NOT NULL,
    identity_identifier     text,
    enabled_when_evaluated  boolean,
    labels                  jsonb       NOT NULL,
    minute                  timestamptz NOT NULL,
    quarter                 timestamptz NOT NULL,
    count                   bigint      NOT NULL
);
CREATE INDEX evaluation_raw_quarter ON evaluation_raw (quarter);

-- Quarters in which something was counted since the buckets were last filled: written in the transaction that writes the counts,
-- a row each time, so that nobody waits for anybody.
CREATE TABLE usage_touched (
    quarter     timestamptz NOT NULL
);

-- Sums by quarter of an hour (15) and by hour (60). Always made from what is below them, whole, so that filling one again, for
-- counts that come late or after a crash, comes to the same.
CREATE TABLE request_bucket (
    minutes         smallint    NOT NULL,
    starts_at       timestamptz NOT NULL,
    environment_id  bigint      NOT NULL,
    resource        smallint    NOT NULL,
    host            text        NOT NULL,
    labels          jsonb       NOT NULL,
    count           bigint      NOT NULL
);
CREATE INDEX request_bucket_starts_at ON request_bucket (minutes, starts_at);
CREATE INDEX request_bucket_environment ON request_bucket (environment_id, minutes, starts_at);

CREATE TABLE evaluation_bucket (
    minutes         smallint    NOT NULL,
    starts_at       timestamptz NOT NULL,
    environment_id  bigint      NOT NULL,
    feature_name    text        NOT NULL,
    labels          jsonb       NOT NULL,
    count           bigint      NOT NULL
);
CREATE INDEX evaluation_bucket_starts_at ON evaluation_bucket (minutes, starts_at);
CREATE INDEX evaluation_bucket_environment ON evaluation_bucket (environment_id, feature_name, minutes, starts_at);
