--! failures (email, since)
select count(*) from login_failure where email = :email and failed_at > :since;

--! insert_failure (email, now)
insert into login_failure (email, failed_at) values (:email, :now);

--! delete_failures (email, before)
delete from login_failure where email = :email or failed_at < :before;

--! set_last_login (id, now)
update users set last_login = :now where id = :id;

--! delete_token (sha256)
delete from auth_token where sha256 = :sha256;
