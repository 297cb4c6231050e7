--! list (environment_id)
select * from environment_key where environment_id = :environment_id order by id;

--! insert (environment_id, name, sha256, hint, now)
insert into environment_key (environment_id, name, sha256, hint, created_at)
values (:environment_id, :name, :sha256, :hint, :now)
returning *;

--! lock (environment_id, id)
select * from environment_key where environment_id = :environment_id and id = :id for update;

--! update (id, name, active, expires_at)
update environment_key
set
    name = :name,
    active = :active,
    expires_at = :expires_at
where id = :id;

--! delete (environment_id, id)
delete from environment_key where environment_id = :environment_id and id = :id returning *;
