-- What happened, what is still to be done, and where the edges are.

CREATE TABLE audit_log (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created_at          timestamptz NOT NULL,
    organisation_id     bigint,     -- no references: the log outlives what it tells of
    project_id          bigint,
    environment_id      bigint,
    author_id           bigint,
    author              text,       -- the name or e-mail as it was
    log                 text        NOT NULL,
    related_object_type text        NOT NULL,
    related_object_id   bigint,
    related_object_uuid uuid
);
CREATE INDEX audit_log_project_id ON audit_log (project_id, id DESC);
CREATE INDEX audit_log_organisation_id ON audit_log (organisation_id, id DESC);

-- Background work, enqueued in the transaction that causes it. A waiting job is unique by kind and
-- key, which coalesces; one that is being worked on may have a successor waiting.
CREATE TABLE job (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind            text        NOT NULL,
    key             text        NOT NULL,
    payload         jsonb       NOT NULL DEFAULT '{}',
    run_at          timestamptz NOT NULL,
    attempts        integer     NOT NULL DEFAULT 0,
    locked_until    timestamptz,            -- the lease of whoever works on it
    last_error      text,
    created_at      timestamptz NOT NULL
);
CREATE UNIQUE INDEX job_waiting_key ON job (kind, key) WHERE locked_until IS NULL;
CREATE INDEX job_run_at ON job (run_at);

-- The edges to publish to. `secret` signs publications and has to be known in clear to do so.
CREATE TABLE edge_target (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            text        NOT NULL CONSTRAINT edge_target_name_key UNIQUE,
    url             text        NOT NULL,
    secret          text        NOT NULL,
    enabled         boolean     NOT NULL DEFAULT true,
    last_error      text,
    last_error_at   timestamptz,
    last_success_at timestamptz,
    created_at      timestamptz NOT NULL
);

-- What each target has confirmed, by client-side key.
CREATE TABLE edge_delivery (
    target_id       bigint      NOT NULL REFERENCES edge_target ON DELETE CASCADE,
    api_key         text        NOT NULL,
    version         bigint      NOT NULL,   -- version confirmed
    confirmed_at    timestamptz NOT NULL,
    PRIMARY KEY (target_id, api_key)
);
