-- A page of a project's tags, with how many there are in all.
--! list (project_id, limit, offset)
select
    id, uuid, project_id, label, color, description, is_permanent, is_system, type as kind,
    count(*) over () as total
from tag
where project_id = :project_id
order by id
limit :limit offset :offset;

--! get (project_id, id)
select id, uuid, project_id, label, color, description, is_permanent, is_system, type as kind
from tag
where project_id = :project_id and id = :id;

--! get_by_uuid (project_id, uuid)
select id, uuid, project_id, label, color, description, is_permanent, is_system, type as kind
from tag
where project_id = :project_id and uuid = :uuid;

--! lock (project_id, id)
select id, uuid, project_id, label, color, description, is_permanent, is_system, type as kind
from tag
where project_id = :project_id and id = :id
for no key update;

--! insert (project_id, label, color, description, is_permanent)
insert into tag (project_id, label, color, description, is_permanent)
values (:project_id, :label, :color, :description, :is_permanent)
returning id, uuid, project_id, label, color, description, is_permanent, is_system, type as kind;

--! update (id, label, color, description, is_permanent)
update tag
set label = :label, color = :color, description = :description, is_permanent = :is_permanent
where id = :id;

--! delete (id)
delete from tag where id = :id;
