-- What every committed change writes besides itself.

--! insert_audit_log (now, organisation_id, project_id, environment_id, author_id, author, log, object, object_id, object_uuid)
insert into audit_log (
    created_at, organisation_id, project_id, environment_id, author_id, author, log,
    related_object_type, related_object_id, related_object_uuid
) values (
    :now, :organisation_id, :project_id, :environment_id, :author_id, :author, :log,
    :object, :object_id, :object_uuid
);

-- Locked in the order of ids, so that two changes cannot wait for each other; and before the version
-- is taken, so that versions grow in the order of commits. The key may be shared meanwhile: whoever has added
-- something to the environment holds it, and two that did would wait for each other.
--! lock_environments (ids)
select id from environment where id = any(:ids) order by id for no key update;

--! lock_project_environments (project_id)
select id from environment where project_id = :project_id order by id for no key update;

--! lock_organisation_environments (organisation_id)
select environment.id
from environment
join project on project.id = environment.project_id
where project.organisation_id = :organisation_id
order by environment.id
for no key update of environment;

--! bump_environments (ids, now)
update environment
set version = nextval('environment_version'), updated_at = :now
where id = any(:ids);
