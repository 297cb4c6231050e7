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

-- Background work. A job is a row, unique by kind and key, enqueued in the transaction that causes
-- it, so it exists exactly when the change does. Enqueuing one that is already there asks for one more
-- run of it, however often: that coalesces, and never runs two of the same kind and key at once.
--
--   waiting   lease is null; due at run_at
--   running   lease names the run, due again at locked_until if whoever runs it dies; run_at is infinity,
--             or the moment asked for by whoever enqueued it again meanwhile
CREATE TABLE job (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind            text        NOT NULL,
    key             text        NOT NULL,
    payload         jsonb       NOT NULL DEFAULT '{}',
    run_at          timestamptz NOT NULL,
    generation      bigint      NOT NULL DEFAULT 1,     -- grows with every enqueuing
    attempts        integer     NOT NULL DEFAULT 0,     -- since it last succeeded
    lease           bigint,
    locked_until    timestamptz,
    last_error      text,
    enqueued_by     xid8        NOT NULL DEFAULT pg_current_xact_id(),  -- the last transaction to enqueue it
    created_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT job_kind_key UNIQUE (kind, key),
    CONSTRAINT job_lease_whole CHECK ((lease IS NULL) = (locked_until IS NULL))
);
CREATE INDEX job_due ON job (kind, (coalesce(locked_until, run_at)));
CREATE SEQUENCE job_lease AS bigint;

-- The one way to enqueue, for the application and for the triggers below.
CREATE FUNCTION enqueue_job(of_kind text, of_key text, with_payload jsonb, at timestamptz) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO job (kind, key, payload, run_at)
    VALUES (of_kind, of_key, with_payload, at)
    ON CONFLICT ON CONSTRAINT job_kind_key DO UPDATE
    SET payload = excluded.payload,
        run_at = least(job.run_at, excluded.run_at),
        generation = job.generation + 1,
        enqueued_by = pg_current_xact_id();
    SELECT pg_notify('yardarm_jobs', of_kind);
$$;

-- The edges to publish to. `secret` signs publications and has to be known in clear to do so.
CREATE TABLE edge_target (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name                text        NOT NULL CONSTRAINT edge_target_name_key UNIQUE,
    url                 text        NOT NULL,
    secret              text        NOT NULL,
    enabled             boolean     NOT NULL DEFAULT true,
    last_error          text,           -- null while all is well
    last_error_at       timestamptz,
    last_success_at     timestamptz,    -- when it last confirmed a package or told what it holds
    created_at          timestamptz NOT NULL
);

-- What each target has confirmed, by client-side key.
CREATE TABLE edge_delivery (
    target_id       bigint      NOT NULL REFERENCES edge_target ON DELETE CASCADE,
    api_key         text        NOT NULL,
    version         bigint      NOT NULL,   -- version confirmed
    confirmed_at    timestamptz NOT NULL,
    PRIMARY KEY (target_id, api_key)
);

-- What every edge should hold: the environments, and the keys to be refused.
CREATE VIEW publication AS
    SELECT api_key, version, updated_at, false AS gone
    FROM environment
    UNION ALL
    SELECT api_key, version, updated_at, true
    FROM environment_tombstone AS tombstone
    WHERE NOT EXISTS (SELECT FROM environment WHERE environment.api_key = tombstone.api_key);

-- An environment cannot be created, changed (its version taken), renamed to another key or deleted, by
-- hand or by a cascade from its project, without its publication being enqueued.
CREATE FUNCTION environment_published() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND NEW.api_key <> OLD.api_key) THEN
        INSERT INTO environment_tombstone (api_key, updated_at)
        VALUES (OLD.api_key, now())
        ON CONFLICT (api_key) DO UPDATE
        SET version = nextval('environment_version'), updated_at = excluded.updated_at;
        PERFORM enqueue_job('publish', OLD.api_key, jsonb_build_object('environment_key', OLD.api_key), now());
        PERFORM pg_notify('yardarm_publication', OLD.api_key);
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'INSERT' OR NEW.api_key <> OLD.api_key THEN
        -- The version is taken now that the key is ours: an older holder of the key may have left a
        -- tombstone while this row waited for it to go, and edges only ever move on.
        DELETE FROM environment_tombstone WHERE api_key = NEW.api_key;
        UPDATE environment SET version = nextval('environment_version') WHERE id = NEW.id;
    ELSIF NEW.version <> OLD.version THEN
        PERFORM enqueue_job('publish', NEW.api_key, jsonb_build_object('environment_key', NEW.api_key), now());
        PERFORM pg_notify('yardarm_publication', NEW.api_key);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER environment_published
    AFTER INSERT OR DELETE OR UPDATE OF version, api_key ON environment
    FOR EACH ROW EXECUTE FUNCTION environment_published();
