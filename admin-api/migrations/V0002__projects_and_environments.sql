-- Projects, environments and their server-side keys.

-- Versions of environments, for every edge: each change of an environment takes the next one while it
-- holds the environment's row, so an environment's versions grow in commit order. One sequence for
-- all, so that a key that moves to another environment never goes backwards at an edge.
CREATE SEQUENCE environment_version AS bigint;

CREATE TABLE project (
    id                                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid                                uuid        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT project_uuid_key UNIQUE,
    organisation_id                     bigint      NOT NULL REFERENCES organisation ON DELETE CASCADE,
    name                                text        NOT NULL,
    hide_disabled_flags                 boolean     NOT NULL DEFAULT false,
    prevent_flag_defaults               boolean     NOT NULL DEFAULT false,
    enable_realtime_updates             boolean     NOT NULL DEFAULT false,
    only_allow_lower_case_feature_names boolean     NOT NULL DEFAULT true,
    feature_name_regex                  text,
    stale_flags_limit_days              integer     NOT NULL DEFAULT 30,
    minimum_change_request_approvals    integer,
    enforce_feature_owners              boolean     NOT NULL DEFAULT false,
    created_at                          timestamptz NOT NULL,
    CONSTRAINT project_name_key UNIQUE (organisation_id, name)
);

CREATE TABLE environment (
    id                                      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid                                    uuid        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT environment_uuid_key UNIQUE,
    project_id                              bigint      NOT NULL REFERENCES project ON DELETE CASCADE,
    name                                    text        NOT NULL,
    api_key                                 text        NOT NULL CONSTRAINT environment_api_key_key UNIQUE,
    description                             text,
    minimum_change_request_approvals        integer,
    allow_client_traits                     boolean     NOT NULL DEFAULT true,
    banner_text                             text,
    banner_colour                           text,
    hide_disabled_flags                     boolean,
    use_identity_composite_key_for_hashing  boolean     NOT NULL DEFAULT true,
    hide_sensitive_data                     boolean     NOT NULL DEFAULT false,
    use_identity_overrides_in_local_eval    boolean     NOT NULL DEFAULT true,
    created_at                              timestamptz NOT NULL,
    updated_at                              timestamptz NOT NULL,   -- of anything its flags depend on
    version                                 bigint      NOT NULL DEFAULT nextval('environment_version'),
    CONSTRAINT environment_name_key UNIQUE (project_id, name)
);

-- Client-side keys that are gone (environment deleted, key changed) and must be refused everywhere.
CREATE TABLE environment_tombstone (
    api_key     text        PRIMARY KEY,
    version     bigint      NOT NULL DEFAULT nextval('environment_version'),
    updated_at  timestamptz NOT NULL
);

-- Server-side keys. Only the SHA-256 is kept; `hint` is what people see of it later.
CREATE TABLE environment_key (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment_id  bigint      NOT NULL REFERENCES environment ON DELETE CASCADE,
    name            text        NOT NULL,
    sha256          bytea       NOT NULL CONSTRAINT environment_key_sha256_key UNIQUE,
    hint            text        NOT NULL,
    active          boolean     NOT NULL DEFAULT true,
    expires_at      timestamptz,
    created_at      timestamptz NOT NULL
);
CREATE INDEX environment_key_environment_id ON environment_key (environment_id);
