-- In which order identities changed, so that every edge can be told of all of them (docs/adr/0014).

-- The number of an identity's last change that edges have to be told of. 0: there was none. Null: it is changed and not numbered yet. Numbers are given after
-- the commit of the change, by one at a time, so that they show in their order: who has seen one has seen all that are lower.
-- What is here already is numbered by and by.
CREATE SEQUENCE identity_change AS bigint;
ALTER TABLE identity ADD COLUMN change_number bigint;
ALTER TABLE identity ALTER COLUMN change_number SET DEFAULT 0;
CREATE INDEX identity_change_number ON identity (environment_id, change_number) WHERE change_number > 0;
CREATE INDEX identity_not_numbered ON identity (id) WHERE change_number IS NULL;

CREATE FUNCTION identity_traits_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE identity
    SET change_number = NULL
    FROM (SELECT DISTINCT identity_id FROM changed) AS changed
    WHERE identity.id = changed.identity_id
      AND identity.change_number IS NOT NULL;
    RETURN NULL;
END
$$;
CREATE TRIGGER identity_traits_made
    AFTER INSERT ON identity_trait REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION identity_traits_changed();
CREATE TRIGGER identity_traits_changed
    AFTER UPDATE ON identity_trait REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION identity_traits_changed();

-- No trait is deleted without this.
CREATE FUNCTION identity_traits_deleted() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE identity
    SET change_number = NULL
    FROM (SELECT DISTINCT environment_id, identifier FROM changed) AS changed
    WHERE identity.environment_id = changed.environment_id
      AND identity.identifier = changed.identifier
      AND identity.change_number IS NOT NULL;
    RETURN NULL;
END
$$;
CREATE TRIGGER identity_traits_deleted
    AFTER INSERT ON deleted_trait REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION identity_traits_deleted();
CREATE TRIGGER identity_traits_deleted_again
    AFTER UPDATE ON deleted_trait REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION identity_traits_deleted();

-- Up to which number a target was told of an environment's identities. It goes with what the target confirmed: an edge that lost the environment
-- has lost its identities, too, and is told of all of them under another `life`.
ALTER TABLE edge_delivery ADD COLUMN identities_told bigint NOT NULL DEFAULT 0;
ALTER TABLE edge_delivery ADD COLUMN life bigint GENERATED ALWAYS AS IDENTITY;
