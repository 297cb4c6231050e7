--! insert (email, password_hash, first_name, last_name, sign_up_type, marketing_consent, is_superuser, now)
insert into users (
    email, password_hash, first_name, last_name, sign_up_type, marketing_consent, is_superuser, created_at
) values (
    :email, :password_hash, :first_name, :last_name, :sign_up_type, :marketing_consent, :is_superuser, :now
)
returning *;

--! insert_token (sha256, user_id, now)
insert into auth_token (sha256, user_id, created_at) values (:sha256, :user_id, :now);

-- Two who would both be the first wait for each other here.
--! lock_users
lock table users in share row exclusive mode;

--! any
select exists (select from users);

--! by_id (id)
select * from users where id = :id;

--! lock (id)
select * from users where id = :id for update;

--! by_email (email)
select * from users where email = :email;

--! update (id, first_name, last_name, marketing_consent, onboarding)
update users
set
    first_name = :first_name,
    last_name = :last_name,
    marketing_consent = :marketing_consent,
    onboarding = :onboarding
where id = :id;

--! set_password (id, password_hash)
update users set password_hash = :password_hash where id = :id;

--! make_superuser (id)
update users set is_superuser = true, is_active = true where id = :id;

--! set_email (id, email)
update users set email = :email where id = :id;

--! delete_other_tokens (user_id, sha256)
delete from auth_token where user_id = :user_id and sha256 <> :sha256;

-- Organisations in which nobody else is.
--! orphan_organisations (user_id)
select organisation_id
from organisation_member
group by organisation_id
having count(*) = 1 and min(user_id) = :user_id
order by organisation_id;

--! delete_organisations (ids)
delete from organisation where id = any(:ids);

--! delete (id)
delete from users where id = :id;
