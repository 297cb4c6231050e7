--! list (project_id, search, include_feature_specific, limit, offset)
select
    id, uuid, project_id, feature_id, name, description, rules, created_at, updated_at,
    count(*) over () as total
from segment
where
    project_id = :project_id
    and (:search::text is null or position(lower(:search) in lower(name)) > 0)
    and (:include_feature_specific::boolean or feature_id is null)
order by id
limit :limit offset :offset;

--! get (id)
select id, uuid, project_id, feature_id, name, description, rules, created_at, updated_at
from segment
where id = :id;

--! id_by_uuid (uuid)
select id from segment where uuid = :uuid;

--! lock (id)
select id, uuid, project_id, feature_id, name, description, rules, created_at, updated_at
from segment
where id = :id
for no key update;

--! feature_exists (project_id, id)
select exists (select from feature where project_id = :project_id and id = :id);

--! insert (project_id, feature_id, name, description, rules, now)
insert into segment (project_id, feature_id, name, description, rules, created_at, updated_at)
values (:project_id, :feature_id, :name, :description, :rules, :now, :now)
returning id, uuid, project_id, feature_id, name, description, rules, created_at, updated_at;

--! update (id, feature_id, name, description, rules, now)
update segment
set
    feature_id = :feature_id,
    name = :name,
    description = :description,
    rules = :rules,
    updated_at = :now
where id = :id;

--! delete (id)
delete from segment where id = :id;

--! rule_ids (count)
select nextval('segment_rule_id') from generate_series(1, :count::bigint);

--! condition_ids (count)
select nextval('segment_condition_id') from generate_series(1, :count::bigint);

--! associated_features (segment_id, environment_id, limit, offset)
select
    feature_state.id, feature_state.feature_id, feature_state.environment_id,
    count(*) over () as total
from feature_state
join feature_segment on feature_segment.id = feature_state.feature_segment_id
where
    feature_segment.segment_id = :segment_id
    and (:environment_id::bigint is null or feature_state.environment_id = :environment_id)
order by feature_state.id
limit :limit offset :offset;
