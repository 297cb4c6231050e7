-- Features with their options and states, segments and segment overrides, identities.

CREATE TABLE feature (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid                uuid        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT feature_uuid_key UNIQUE,
    project_id          bigint      NOT NULL REFERENCES project ON DELETE CASCADE,
    name                text        NOT NULL,
    type                text        NOT NULL DEFAULT 'STANDARD' CONSTRAINT feature_type_check CHECK (type IN ('STANDARD', 'MULTIVARIATE')),
    default_enabled     boolean     NOT NULL DEFAULT false,
    initial_value       text,
    description         text,
    is_archived         boolean     NOT NULL DEFAULT false,
    is_server_key_only  boolean     NOT NULL DEFAULT false,
    created_at          timestamptz NOT NULL
);
CREATE UNIQUE INDEX feature_name_key ON feature (project_id, lower(name));

CREATE TABLE feature_owner (
    feature_id  bigint NOT NULL REFERENCES feature ON DELETE CASCADE,
    user_id     bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    PRIMARY KEY (feature_id, user_id)
);

CREATE TABLE multivariate_option (
    id                              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid                            uuid    NOT NULL DEFAULT gen_random_uuid() CONSTRAINT multivariate_option_uuid_key UNIQUE,
    feature_id                      bigint  NOT NULL REFERENCES feature ON DELETE CASCADE,
    key                             text,
    type                            text    NOT NULL DEFAULT 'unicode' CONSTRAINT multivariate_option_type_check CHECK (type IN ('unicode', 'int', 'bool')),
    string_value                    text,
    integer_value                   integer,
    boolean_value                   boolean,
    default_percentage_allocation   double precision NOT NULL DEFAULT 100
);
CREATE INDEX multivariate_option_feature_id ON multivariate_option (feature_id);
CREATE UNIQUE INDEX multivariate_option_key_key ON multivariate_option (feature_id, key) WHERE key IS NOT NULL;

CREATE TABLE segment (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid        uuid        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT segment_uuid_key UNIQUE,
    project_id  bigint      NOT NULL REFERENCES project ON DELETE CASCADE,
    feature_id  bigint      REFERENCES feature ON DELETE CASCADE,   -- set: usable for that feature only
    name        text        NOT NULL,
    description text,
    rules       jsonb       NOT NULL,   -- as the API shows them, ids included
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);
CREATE INDEX segment_project_id ON segment (project_id);
CREATE SEQUENCE segment_rule_id AS bigint;
CREATE SEQUENCE segment_condition_id AS bigint;

CREATE TABLE feature_segment (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid            uuid    NOT NULL DEFAULT gen_random_uuid() CONSTRAINT feature_segment_uuid_key UNIQUE,
    feature_id      bigint  NOT NULL REFERENCES feature ON DELETE CASCADE,
    segment_id      bigint  NOT NULL REFERENCES segment ON DELETE CASCADE,
    environment_id  bigint  NOT NULL REFERENCES environment ON DELETE CASCADE,
    priority        integer NOT NULL    -- 0 wins
);
CREATE INDEX feature_segment_environment_feature ON feature_segment (environment_id, feature_id);
CREATE INDEX feature_segment_segment_id ON feature_segment (segment_id);

CREATE TABLE identity (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment_id  bigint      NOT NULL REFERENCES environment ON DELETE CASCADE,
    identifier      text        NOT NULL,
    created_at      timestamptz NOT NULL,
    CONSTRAINT identity_identifier_key UNIQUE (environment_id, identifier)
);

CREATE TABLE identity_trait (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    identity_id     bigint  NOT NULL REFERENCES identity ON DELETE CASCADE,
    trait_key       text    NOT NULL,
    value_type      text    NOT NULL CONSTRAINT identity_trait_value_type_check CHECK (value_type IN ('unicode', 'int', 'bool', 'float')),
    string_value    text,
    integer_value   bigint,
    boolean_value   boolean,
    float_value     double precision,
    created_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT identity_trait_key_key UNIQUE (identity_id, trait_key)
);

-- An environment default (neither segment nor identity), a segment override, or an identity override.
CREATE TABLE feature_state (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid                uuid        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT feature_state_uuid_key UNIQUE,
    environment_id      bigint      NOT NULL REFERENCES environment ON DELETE CASCADE,
    feature_id          bigint      NOT NULL REFERENCES feature ON DELETE CASCADE,
    feature_segment_id  bigint      REFERENCES feature_segment ON DELETE CASCADE,
    identity_id         bigint      REFERENCES identity ON DELETE CASCADE,
    enabled             boolean     NOT NULL DEFAULT false,
    value_type          text        NOT NULL DEFAULT 'unicode' CONSTRAINT feature_state_value_type_check CHECK (value_type IN ('unicode', 'int', 'bool')),
    string_value        text,
    integer_value       integer,
    boolean_value       boolean,
    hashing_salt        bigint,     -- bucket salt where it is not the id (a cloned environment keeps its own)
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    CONSTRAINT feature_state_one_kind CHECK (feature_segment_id IS NULL OR identity_id IS NULL)
);
CREATE UNIQUE INDEX feature_state_default_key ON feature_state (environment_id, feature_id)
    WHERE feature_segment_id IS NULL AND identity_id IS NULL;
CREATE UNIQUE INDEX feature_state_segment_key ON feature_state (feature_segment_id) WHERE feature_segment_id IS NOT NULL;
CREATE UNIQUE INDEX feature_state_identity_key ON feature_state (identity_id, feature_id) WHERE identity_id IS NOT NULL;
CREATE INDEX feature_state_feature_id ON feature_state (feature_id);

CREATE TABLE multivariate_state_value (
    id                      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid                    uuid    NOT NULL DEFAULT gen_random_uuid() CONSTRAINT multivariate_state_value_uuid_key UNIQUE,
    feature_state_id        bigint  NOT NULL REFERENCES feature_state ON DELETE CASCADE,
    multivariate_option_id  bigint  NOT NULL REFERENCES multivariate_option ON DELETE CASCADE,
    percentage_allocation   double precision NOT NULL,
    CONSTRAINT multivariate_state_value_option_key UNIQUE (feature_state_id, multivariate_option_id)
);
CREATE INDEX multivariate_state_value_option_id ON multivariate_state_value (multivariate_option_id);
