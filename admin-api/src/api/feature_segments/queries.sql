--! list (environment_id, feature_id)
select
    feature_segment.id,
    feature_segment.uuid,
    feature_segment.feature_id,
    feature_segment.segment_id,
    feature_segment.environment_id,
    feature_segment.priority,
    segment.name as segment_name,
    segment.feature_id is not null as is_feature_specific
from feature_segment
join segment on segment.id = feature_segment.segment_id
where feature_segment.environment_id = :environment_id and feature_segment.feature_id = :feature_id
order by feature_segment.priority, feature_segment.id;

--! by_ids (ids)
select
    feature_segment.id,
    feature_segment.uuid,
    feature_segment.feature_id,
    feature_segment.segment_id,
    feature_segment.environment_id,
    feature_segment.priority,
    segment.name as segment_name,
    segment.feature_id is not null as is_feature_specific
from feature_segment
join segment on segment.id = feature_segment.segment_id
where feature_segment.id = any(:ids)
order by feature_segment.id;

--! id_by_uuid (uuid)
select id from feature_segment where uuid = :uuid;

-- Held while a feature's overrides are made, moved or deleted.
--! lock_feature (id)
select id from feature where id = :id for no key update;

--! insert (feature_id, segment_id, environment_id, priority)
insert into feature_segment (feature_id, segment_id, environment_id, priority)
values (:feature_id, :segment_id, :environment_id, :priority)
returning id;

--! set_priorities (ids, priorities)
update feature_segment
set priority = given.priority
from unnest(:ids::bigint[], :priorities::integer[]) as given (id, priority)
where feature_segment.id = given.id and feature_segment.priority <> given.priority;

--! delete (id)
delete from feature_segment where id = :id;

-- The one feature that the segment of the project is for, if it is.
--! segment (project_id, id)
select feature_id from segment where project_id = :project_id and id = :id;
