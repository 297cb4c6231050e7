-- Identities that edges have seen, and what edges have to be told of them.

-- When a trait's value last changed, by the clock of whoever changed it, in microseconds since the epoch; 0 when nobody
-- knows. Of two changes of one trait that were made in different places the later one counts.
ALTER TABLE identity_trait ADD COLUMN changed_at_micros bigint NOT NULL DEFAULT 0;

-- Batches that edges have delivered. An edge repeats a batch until it is confirmed; it counts once.
CREATE TABLE edge_batch (
    id          text        PRIMARY KEY,
    target_id   bigint      NOT NULL,   -- no reference: what a target sent stays sent when it goes
    edge        text        NOT NULL,
    skipped     bigint      NOT NULL,   -- how many of its rows could not be used
    dropped     bigint      NOT NULL,   -- how many counts the edge had to forget before
    taken_at    timestamptz NOT NULL
);
CREATE INDEX edge_batch_taken_at ON edge_batch (taken_at);

-- Which traits people changed that a target has not been told of yet. What it is told is the value as it is then; the time here is
-- that of a deletion, when the trait is gone. The empty key stands for the identity itself, which a person made.
CREATE TABLE edge_identity_change (
    target_id           bigint      NOT NULL REFERENCES edge_target ON DELETE CASCADE,
    environment_id      bigint      NOT NULL REFERENCES environment ON DELETE CASCADE,
    identifier          text        NOT NULL,
    trait_key           text        NOT NULL,
    created_at          timestamptz NOT NULL,   -- of the identity
    changed_at_micros   bigint      NOT NULL,
    CONSTRAINT edge_identity_change_pkey PRIMARY KEY (target_id, environment_id, identifier, trait_key)
);
CREATE INDEX edge_identity_change_environment_id ON edge_identity_change (environment_id);
