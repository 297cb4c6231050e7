--! list (user_id, project_id, lim, off)
select environment.*, project.organisation_id
from environment
join project on project.id = environment.project_id
join organisation_member
    on organisation_member.organisation_id = project.organisation_id
    and organisation_member.user_id = :user_id
    and organisation_member.role = 'ADMIN'
where environment.project_id = :project_id
order by environment.id
limit :lim offset :off;

--! count (user_id, project_id)
select count(*)
from environment
join project on project.id = environment.project_id
join organisation_member
    on organisation_member.organisation_id = project.organisation_id
    and organisation_member.user_id = :user_id
    and organisation_member.role = 'ADMIN'
where environment.project_id = :project_id;

--! project_exists (id)
select exists (select from project where id = :id);

--! standing (id, user_id)
select organisation_member.role
from users
join environment on environment.id = :id
join project on project.id = environment.project_id
left join organisation_member
    on organisation_member.organisation_id = project.organisation_id
    and organisation_member.user_id = users.id
where users.id = :user_id;

--! key_by_uuid (uuid)
select api_key from environment where uuid = :uuid;

--! total_segment_overrides (id)
select count(*)
from feature_state
where environment_id = :id and feature_segment_id is not null;

--! insert (project_id, name, api_key, now)
with inserted as (
    insert into environment (project_id, name, api_key, created_at, updated_at)
    values (:project_id, :name, :api_key, :now, :now)
    returning *
)
select inserted.*, project.organisation_id
from inserted
join project on project.id = inserted.project_id;

-- Holds the project's features still while states are made for all of them.
--! lock_project (project_id)
select id from project where id = :project_id for update;

-- A state for each feature, with the feature's defaults unless the project prevents that; the value is
-- typed as its text looks, like `FlagValue::initial` (flagsmith-observed.md 4.4).
--! insert_states (environment_id, project_id, now)
insert into feature_state (
    environment_id, feature_id, enabled, value_type, string_value, integer_value, boolean_value,
    created_at, updated_at
)
select
    :environment_id,
    feature.id,
    feature.default_enabled and not project.prevent_flag_defaults,
    typed.value_type,
    case when typed.value_type = 'unicode' then typed.value end,
    case when typed.value_type = 'int' then replace(typed.value, '_', '')::integer end,
    case when typed.value_type = 'bool' then lower(typed.value) = 'true' end,
    :now,
    :now
from feature
join project on project.id = feature.project_id
cross join lateral (
    select case when not project.prevent_flag_defaults then feature.initial_value end as value
) as chosen
cross join lateral (
    select
        chosen.value,
        case
            when chosen.value in ('true', 'True', 'false', 'False') then 'bool'
            when chosen.value ~ '^\s*[+-]?[0-9]+(_[0-9]+)*\s*$' then
                case
                    when replace(chosen.value, '_', '')::numeric between -2147483648 and 2147483647 then 'int'
                    else 'unicode'
                end
            else 'unicode'
        end as value_type
) as typed
where feature.project_id = :project_id
order by feature.id;

--! insert_multivariate_values (environment_id)
insert into multivariate_state_value (feature_state_id, multivariate_option_id, percentage_allocation)
select feature_state.id, multivariate_option.id, multivariate_option.default_percentage_allocation
from feature_state
join multivariate_option on multivariate_option.feature_id = feature_state.feature_id
where
    feature_state.environment_id = :environment_id
    and feature_state.feature_segment_id is null
    and feature_state.identity_id is null
order by feature_state.id, multivariate_option.id;

--! lock (id)
select environment.*, project.organisation_id
from environment
join project on project.id = environment.project_id
where environment.id = :id
for update of environment;

--! update (id, name, api_key, description, minimum_change_request_approvals, allow_client_traits, banner_text, banner_colour, hide_disabled_flags, use_identity_composite_key_for_hashing, hide_sensitive_data, use_identity_overrides_in_local_eval)
update environment
set
    name = :name,
    api_key = :api_key,
    description = :description,
    minimum_change_request_approvals = :minimum_change_request_approvals,
    allow_client_traits = :allow_client_traits,
    banner_text = :banner_text,
    banner_colour = :banner_colour,
    hide_disabled_flags = :hide_disabled_flags,
    use_identity_composite_key_for_hashing = :use_identity_composite_key_for_hashing,
    hide_sensitive_data = :hide_sensitive_data,
    use_identity_overrides_in_local_eval = :use_identity_overrides_in_local_eval
where id = :id;

--! delete (id)
delete from environment where id = :id;

--! copy_settings (source_id, target_id)
update environment as target
set
    description = source.description,
    minimum_change_request_approvals = source.minimum_change_request_approvals,
    allow_client_traits = source.allow_client_traits,
    banner_text = source.banner_text,
    banner_colour = source.banner_colour,
    hide_disabled_flags = source.hide_disabled_flags,
    use_identity_composite_key_for_hashing = source.use_identity_composite_key_for_hashing,
    hide_sensitive_data = source.hide_sensitive_data,
    use_identity_overrides_in_local_eval = source.use_identity_overrides_in_local_eval
from environment as source
where source.id = :source_id and target.id = :target_id;

-- Copies of the segment overrides' places, in the order of the originals, whose ids tell which is whose.
--! copy_feature_segments (source_id, target_id)
insert into feature_segment (feature_id, segment_id, environment_id, priority)
select feature_id, segment_id, :target_id, priority
from feature_segment
where environment_id = :source_id
order by id;

-- Environment defaults and segment overrides, not those of identities. A copy keeps the salt of the
-- original, so that the split of values stays as it was.
--! copy_states (source_id, target_id, now)
with source_place as (
    select id, row_number() over (order by id) as place from feature_segment where environment_id = :source_id
), target_place as (
    select id, row_number() over (order by id) as place from feature_segment where environment_id = :target_id
)
insert into feature_state (
    environment_id, feature_id, feature_segment_id, enabled, value_type, string_value, integer_value,
    boolean_value, hashing_salt, created_at, updated_at
)
select
    :target_id,
    state.feature_id,
    target_place.id,
    state.enabled,
    state.value_type,
    state.string_value,
    state.integer_value,
    state.boolean_value,
    coalesce(state.hashing_salt, state.id),
    :now,
    :now
from feature_state as state
left join source_place on source_place.id = state.feature_segment_id
left join target_place on target_place.place = source_place.place
where state.environment_id = :source_id and state.identity_id is null
order by state.id;

--! copy_multivariate_values (source_id, target_id)
with source_state as (
    select id, row_number() over (order by id) as place
    from feature_state
    where environment_id = :source_id and identity_id is null
), target_state as (
    select id, row_number() over (order by id) as place
    from feature_state
    where environment_id = :target_id and identity_id is null
)
insert into multivariate_state_value (feature_state_id, multivariate_option_id, percentage_allocation)
select target_state.id, original.multivariate_option_id, original.percentage_allocation
from multivariate_state_value as original
join source_state on source_state.id = original.feature_state_id
join target_state on target_state.place = source_state.place
order by original.id;

--! trait_keys (id)
select distinct identity_trait.trait_key
from identity_trait
join identity on identity.id = identity_trait.identity_id
where identity.environment_id = :id
order by identity_trait.trait_key;

--! delete_traits (id, trait_key)
delete from identity_trait
using identity
where
    identity.id = identity_trait.identity_id
    and identity.environment_id = :id
    and identity_trait.trait_key = :trait_key;
