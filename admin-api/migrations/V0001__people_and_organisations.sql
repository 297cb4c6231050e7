-- People, their tokens, and the organisations they belong to.

CREATE TABLE users (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid                uuid        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT users_uuid_key UNIQUE,
    email               text        NOT NULL,               -- lower-cased
    password_hash       text        NOT NULL,               -- Argon2id, PHC string
    first_name          text        NOT NULL,
    last_name           text        NOT NULL,
    sign_up_type        text,
    is_active           boolean     NOT NULL DEFAULT true,
    is_superuser        boolean     NOT NULL DEFAULT false,
    marketing_consent   boolean     NOT NULL DEFAULT true,
    onboarding          jsonb,                              -- kept for dashboards, as the API shows it
    created_at          timestamptz NOT NULL,
    last_login          timestamptz,
    CONSTRAINT users_email_key UNIQUE (email)
);
COMMENT ON COLUMN users.created_at IS 'date_joined in the API';

-- One token a session. Only its SHA-256 is kept; the API shows the token once, at login.
CREATE TABLE auth_token (
    sha256      bytea       PRIMARY KEY,
    user_id     bigint      NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at  timestamptz NOT NULL
);
CREATE INDEX auth_token_user_id ON auth_token (user_id);

-- Failed logins, for the lock-out after ten failures in fifteen minutes.
CREATE TABLE login_failure (
    email       text        NOT NULL,
    failed_at   timestamptz NOT NULL
);
CREATE INDEX login_failure_email ON login_failure (email, failed_at);

CREATE TABLE organisation (
    id                                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid                                uuid        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT organisation_uuid_key UNIQUE,
    name                                text        NOT NULL,
    webhook_notification_email          text,
    persist_trait_data                  boolean     NOT NULL DEFAULT true,
    stop_serving_flags                  boolean     NOT NULL DEFAULT false,
    block_access_to_admin               boolean     NOT NULL DEFAULT false,
    restrict_project_create_to_admin    boolean     NOT NULL DEFAULT false,
    feature_analytics                   boolean     NOT NULL DEFAULT false,
    force_2fa                           boolean     NOT NULL DEFAULT false,
    created_at                          timestamptz NOT NULL
);

CREATE TABLE organisation_member (
    organisation_id bigint      NOT NULL REFERENCES organisation ON DELETE CASCADE,
    user_id         bigint      NOT NULL REFERENCES users ON DELETE CASCADE,
    role            text        NOT NULL CONSTRAINT organisation_member_role_check CHECK (role IN ('ADMIN', 'USER')),
    joined_at       timestamptz NOT NULL,
    PRIMARY KEY (organisation_id, user_id)
);
CREATE INDEX organisation_member_user_id ON organisation_member (user_id);
