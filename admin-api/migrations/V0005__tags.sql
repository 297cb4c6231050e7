-- Tags, by which people tell a project's features apart. The edges never see them.

CREATE TABLE tag (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid            uuid    NOT NULL DEFAULT gen_random_uuid() CONSTRAINT tag_uuid_key UNIQUE,
    project_id      bigint  NOT NULL REFERENCES project ON DELETE CASCADE,
    label           text    NOT NULL,
    color           text    NOT NULL,
    description     text,
    is_permanent    boolean NOT NULL DEFAULT false,
    is_system       boolean NOT NULL DEFAULT false,     -- made by the platform, not by people
    type            text    NOT NULL DEFAULT 'NONE' CONSTRAINT tag_type_check CHECK (type IN ('NONE', 'STALE', 'GITHUB', 'UNHEALTHY', 'GITLAB'))
);
CREATE INDEX tag_project_id ON tag (project_id);

CREATE TABLE feature_tag (
    feature_id  bigint NOT NULL REFERENCES feature ON DELETE CASCADE,
    tag_id      bigint NOT NULL REFERENCES tag ON DELETE CASCADE,
    CONSTRAINT feature_tag_pkey PRIMARY KEY (feature_id, tag_id)
);
CREATE INDEX feature_tag_tag_id ON feature_tag (tag_id);
