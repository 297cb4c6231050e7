-- Traits that were deleted lately, so that an older change of one that arrives later does not bring it back. By the identity's
-- name, since a trait stays deleted when its identity goes. A trait is either in identity_trait or here.

CREATE TABLE deleted_trait (
    environment_id      bigint  NOT NULL REFERENCES environment ON DELETE CASCADE,
    identifier          text    NOT NULL,
    trait_key           text    NOT NULL,
    deleted_at_micros   bigint  NOT NULL,   -- by the clock of whoever deleted it
    CONSTRAINT deleted_trait_pkey PRIMARY KEY (environment_id, identifier, trait_key)
);
CREATE INDEX deleted_trait_deleted_at_micros ON deleted_trait (deleted_at_micros);
