-- A row for every state that fits, with how many there are in all.
--! list (environment_id, feature_id, feature_name, feature_segment_id, identity_id, kind, limit, offset)
select
    feature_state.id,
    feature_state.uuid,
    feature_state.environment_id,
    feature_state.feature_id,
    feature.name as feature_name,
    feature_state.feature_segment_id,
    segment.name as segment_name,
    feature_state.identity_id,
    identity.identifier,
    feature_state.enabled,
    feature_state.value_type,
    feature_state.string_value,
    feature_state.integer_value,
    feature_state.boolean_value,
    feature_state.created_at,
    feature_state.updated_at,
    count(*) over () as total
from feature_state
join feature on feature.id = feature_state.feature_id
left join feature_segment on feature_segment.id = feature_state.feature_segment_id
left join segment on segment.id = feature_segment.segment_id
left join identity on identity.id = feature_state.identity_id
where
    feature_state.environment_id = :environment_id
    and (:feature_id::bigint is null or feature_state.feature_id = :feature_id)
    and (:feature_name::text is null or feature.name = :feature_name)
    and (:feature_segment_id::bigint is null or feature_state.feature_segment_id = :feature_segment_id)
    and (:identity_id::bigint is null or feature_state.identity_id = :identity_id)
    and case :kind::text
        when 'default' then feature_state.identity_id is null and feature_state.feature_segment_id is null
        when 'identity' then feature_state.identity_id is not null
        else true
    end
order by feature_state.id
limit :limit offset :offset;

--! get (id)
select
    feature_state.id,
    feature_state.uuid,
    feature_state.environment_id,
    feature_state.feature_id,
    feature.name as feature_name,
    feature_state.feature_segment_id,
    segment.name as segment_name,
    feature_state.identity_id,
    identity.identifier,
    feature_state.enabled,
    feature_state.value_type,
    feature_state.string_value,
    feature_state.integer_value,
    feature_state.boolean_value,
    feature_state.created_at,
    feature_state.updated_at
from feature_state
join feature on feature.id = feature_state.feature_id
left join feature_segment on feature_segment.id = feature_state.feature_segment_id
left join segment on segment.id = feature_segment.segment_id
left join identity on identity.id = feature_state.identity_id
where feature_state.id = :id;

--! id_by_uuid (uuid)
select id from feature_state where uuid = :uuid;

-- The feature's options must not change while a state gets its shares: whoever changes them holds the
-- feature's row.
--! lock_feature (id)
select id from feature where id = :id for share;

--! lock (id)
select id from feature_state where id = :id for no key update;

--! insert (environment_id, feature_id, feature_segment_id, identity_id, enabled, value_type, string_value, integer_value, boolean_value, now)
insert into feature_state (
    environment_id, feature_id, feature_segment_id, identity_id, enabled,
    value_type, string_value, integer_value, boolean_value, created_at, updated_at
) values (
    :environment_id, :feature_id, :feature_segment_id, :identity_id, :enabled,
    :value_type, :string_value, :integer_value, :boolean_value, :now, :now
)
returning id;

--! update (id, enabled, value_type, string_value, integer_value, boolean_value, now)
update feature_state
set
    enabled = :enabled,
    value_type = :value_type,
    string_value = :string_value,
    integer_value = :integer_value,
    boolean_value = :boolean_value,
    updated_at = :now
where id = :id;

--! delete (id)
delete from feature_state where id = :id;

--! weights (feature_state_ids)
select feature_state_id, id, multivariate_option_id, percentage_allocation
from multivariate_state_value
where feature_state_id = any(:feature_state_ids)
order by feature_state_id, id;

--! options (feature_id)
select id, default_percentage_allocation
from multivariate_option
where feature_id = :feature_id
order by id;

--! save_weights (feature_state_id, option_ids, shares)
insert into multivariate_state_value (feature_state_id, multivariate_option_id, percentage_allocation)
select :feature_state_id, given.option_id, given.share
from unnest(:option_ids::bigint[], :shares::double precision[]) as given (option_id, share)
on conflict on constraint multivariate_state_value_option_key
do update set percentage_allocation = excluded.percentage_allocation;

-- What a new state starts with, and what has to fit together.
--! parents (feature_id, environment_id)
select feature.initial_value, project.prevent_flag_defaults
from feature
join project on project.id = feature.project_id
join environment on environment.project_id = project.id
where feature.id = :feature_id and environment.id = :environment_id;

--! identity_by_identifier (environment_id, identifier)
select id from identity where environment_id = :environment_id and identifier = :identifier;

--! identity_exists (environment_id, id)
select exists (select from identity where environment_id = :environment_id and id = :id);

--! feature_segment_exists (environment_id, feature_id, id)
select exists (
    select from feature_segment
    where environment_id = :environment_id and feature_id = :feature_id and id = :id
);
