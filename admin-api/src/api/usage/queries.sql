-- Whose usage somebody may see; the usage itself may be in another database.

--! environments (organisation_id, project_id, environment_id)
select environment.id
from environment
join project on project.id = environment.project_id
where project.organisation_id = :organisation_id
  and (:project_id::bigint is null or project.id = :project_id)
  and (:environment_id::bigint is null or environment.id = :environment_id)
order by environment.id;

--! feature_name (project_id, id)
select name from feature where project_id = :project_id and id = :id;
