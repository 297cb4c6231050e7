--! facts
select exists (select from users) as has_users, exists (select from users where last_login is not null) as has_logins;

--! alive
select 1;
