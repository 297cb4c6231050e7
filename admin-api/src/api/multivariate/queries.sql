--! list (feature_id)
select
    id, uuid, feature_id, key, type as kind,
    string_value, integer_value, boolean_value, default_percentage_allocation
from multivariate_option
where feature_id = :feature_id
order by id;

--! of_features (feature_ids)
select
    id, uuid, feature_id, key, type as kind,
    string_value, integer_value, boolean_value, default_percentage_allocation
from multivariate_option
where feature_id = any(:feature_ids)
order by id;

--! by_uuid (uuid)
select
    id, uuid, feature_id, key, type as kind,
    string_value, integer_value, boolean_value, default_percentage_allocation
from multivariate_option
where uuid = :uuid;

-- Held while a feature's options change: the sum of their shares is checked under it, and new states
-- wait until they can see the options.
--! lock_feature (id)
select id from feature where id = :id for no key update;

--! insert (feature_id, key, kind, string_value, integer_value, boolean_value, share)
insert into multivariate_option (
    feature_id, key, type, string_value, integer_value, boolean_value, default_percentage_allocation
) values (
    :feature_id, :key, :kind, :string_value, :integer_value, :boolean_value, :share
)
returning
    id, uuid, feature_id, key, type as kind,
    string_value, integer_value, boolean_value, default_percentage_allocation;

-- In every state of the feature, as much of the option's share as the others leave.
--! insert_shares (option_id, feature_id, share)
insert into multivariate_state_value (feature_state_id, multivariate_option_id, percentage_allocation)
select
    feature_state.id,
    :option_id,
    least(:share::double precision, greatest(0, 100 - coalesce(sum(others.percentage_allocation), 0)))
from feature_state
left join multivariate_state_value as others on others.feature_state_id = feature_state.id
where feature_state.feature_id = :feature_id
group by feature_state.id
order by feature_state.id;

--! update (id, key, kind, string_value, integer_value, boolean_value, share)
update multivariate_option
set
    key = :key,
    type = :kind,
    string_value = :string_value,
    integer_value = :integer_value,
    boolean_value = :boolean_value,
    default_percentage_allocation = :share
where id = :id;

--! delete (ids)
delete from multivariate_option where id = any(:ids);

--! set_feature_type (feature_id)
update feature
set type = case
    when exists (select from multivariate_option where feature_id = :feature_id) then 'MULTIVARIATE'
    else 'STANDARD'
end
where id = :feature_id;
