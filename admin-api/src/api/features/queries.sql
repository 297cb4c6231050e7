-- A page of a project's features, with how many there are in all. With a segment or an identity, the
-- features that it overrides come first.
--! list (project_id, environment_id, segment_id, identity_id, search, is_archived, kind, is_enabled, value_search, tags, tags_at_least, owners, sort_field, descending, limit, offset)
select
    feature.id,
    feature.uuid,
    feature.project_id,
    feature.name,
    feature.type as kind,
    feature.default_enabled,
    feature.initial_value,
    feature.description,
    feature.is_archived,
    feature.is_server_key_only,
    feature.created_at,
    count(*) over () as total
from feature
left join feature_state as state
    on state.feature_id = feature.id
    and state.environment_id = :environment_id
    and state.feature_segment_id is null
    and state.identity_id is null
where
    feature.project_id = :project_id
    and (:search::text is null or position(lower(:search) in lower(feature.name)) > 0)
    and (:is_archived::boolean is null or feature.is_archived = :is_archived)
    and (:kind::text is null or feature.type = :kind)
    and (:is_enabled::boolean is null or state.enabled = :is_enabled)
    and (
        :value_search::text is null
        or position(lower(:value_search) in lower(case state.value_type
            when 'int' then state.integer_value::text
            when 'bool' then state.boolean_value::text
            else state.string_value
        end)) > 0
    )
    and (
        :tags::bigint[] is null
        or case
            when cardinality(:tags) = 0
            then not exists (select from feature_tag where feature_tag.feature_id = feature.id)
            else (
                select count(*) from feature_tag
                where feature_tag.feature_id = feature.id and feature_tag.tag_id = any(:tags)
            ) >= :tags_at_least::bigint
        end
    )
    and (
        :owners::bigint[] is null
        or exists (
            select from feature_owner
            where feature_owner.feature_id = feature.id and feature_owner.user_id = any(:owners)
        )
    )
order by
    exists (
        select from feature_segment
        where feature_segment.feature_id = feature.id
            and feature_segment.segment_id = :segment_id
            and feature_segment.environment_id = :environment_id
    ) desc,
    exists (
        select from feature_state as override
        where override.feature_id = feature.id and override.identity_id = :identity_id
    ) desc,
    case when :sort_field::text = 'name' and not :descending::boolean then lower(feature.name) end,
    case when :sort_field = 'name' and :descending then lower(feature.name) end desc,
    case when not :descending then feature.id end,
    feature.id desc
limit :limit offset :offset;

--! get (id)
select
    id, uuid, project_id, name, type as kind, default_enabled, initial_value, description,
    is_archived, is_server_key_only, created_at
from feature
where id = :id;

--! id_by_uuid (uuid)
select id from feature where uuid = :uuid;

-- Environments that are made meanwhile wait, so that each gets a state of each feature.
--! lock_project (id)
select id from project where id = :id for no key update;

--! insert (project_id, name, kind, default_enabled, initial_value, description, is_archived, is_server_key_only, now)
insert into feature (
    project_id, name, type, default_enabled, initial_value, description, is_archived,
    is_server_key_only, created_at
) values (
    :project_id, :name, :kind, :default_enabled, :initial_value, :description, :is_archived,
    :is_server_key_only, :now
)
returning id;

--! insert_states (feature_id, project_id, enabled, value_type, string_value, integer_value, boolean_value, now)
insert into feature_state (
    environment_id, feature_id, enabled, value_type, string_value, integer_value, boolean_value,
    created_at, updated_at
)
select
    environment.id, :feature_id, :enabled, :value_type, :string_value, :integer_value, :boolean_value,
    :now, :now
from environment
where environment.project_id = :project_id
order by environment.id;

--! lock (id)
select
    id, uuid, project_id, name, type as kind, default_enabled, initial_value, description,
    is_archived, is_server_key_only, created_at
from feature
where id = :id
for no key update;

--! update (id, description, is_archived, is_server_key_only)
update feature
set description = :description, is_archived = :is_archived, is_server_key_only = :is_server_key_only
where id = :id;

--! delete (id)
delete from feature where id = :id;

--! owners (feature_ids)
select
    feature_owner.feature_id, users.id, users.email, users.first_name, users.last_name,
    users.last_login, users.uuid
from feature_owner
join users on users.id = feature_owner.user_id
where feature_owner.feature_id = any(:feature_ids)
order by users.id;

-- Of the people asked for, those who are in the organisation.
--! members (organisation_id, user_ids)
select user_id
from organisation_member
where organisation_id = :organisation_id and user_id = any(:user_ids)
order by user_id;

--! add_owners (feature_id, user_ids)
insert into feature_owner (feature_id, user_id)
select :feature_id, user_id from unnest(:user_ids::bigint[]) as user_id
on conflict do nothing;

--! remove_owners (feature_id, user_ids)
delete from feature_owner where feature_id = :feature_id and user_id = any(:user_ids);

-- The defaults of these features in an environment.
--! default_states (environment_id, feature_ids)
select
    id, feature_id, environment_id, feature_segment_id, identity_id, enabled,
    value_type, string_value, integer_value, boolean_value
from feature_state
where
    environment_id = :environment_id
    and feature_id = any(:feature_ids)
    and feature_segment_id is null
    and identity_id is null;

-- What these features are for the members of a segment.
--! segment_states (environment_id, segment_id, feature_ids)
select distinct on (state.feature_id)
    state.id, state.feature_id, state.environment_id, state.feature_segment_id, state.identity_id,
    state.enabled, state.value_type, state.string_value, state.integer_value, state.boolean_value
from feature_state as state
join feature_segment on feature_segment.id = state.feature_segment_id
where
    state.environment_id = :environment_id
    and feature_segment.segment_id = :segment_id
    and state.feature_id = any(:feature_ids)
order by state.feature_id, feature_segment.priority, feature_segment.id;

-- How many segments and how many identities have an override of these features in an environment.
--! overrides (environment_id, feature_ids)
select
    state.feature_id,
    count(distinct feature_segment.segment_id) as segments,
    count(state.identity_id) as identities
from feature_state as state
left join feature_segment on feature_segment.id = state.feature_segment_id
where
    state.environment_id = :environment_id
    and state.feature_id = any(:feature_ids)
    and (state.feature_segment_id is not null or state.identity_id is not null)
group by state.feature_id;

-- Of these tags, those of the project.
--! known_tags (project_id, tag_ids)
select id from tag where project_id = :project_id and id = any(:tag_ids);

-- Takes all tags but these off a feature.
--! keep_tags (feature_id, tag_ids)
delete from feature_tag where feature_id = :feature_id and tag_id <> all(:tag_ids);

-- Waits for tags that are just being deleted, and passes them over.
--! add_tags (feature_id, tag_ids)
insert into feature_tag (feature_id, tag_id)
select :feature_id, held.id
from (select id from tag where id = any(:tag_ids) order by id for key share) as held
on conflict do nothing;

-- The tags of these features.
--! tags (feature_ids)
select feature_id, tag_id
from feature_tag
where feature_id = any(:feature_ids)
order by feature_id, tag_id;
