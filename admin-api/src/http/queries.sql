--! actor_by_token (sha256)
select
    users.id as user_id,
    users.email,
    users.is_superuser,
    users.is_active,
    auth_token.sha256 as token_sha256
from auth_token
join users on users.id = auth_token.user_id
where auth_token.sha256 = :sha256;
