--! list (environment_id, exact, part, limit, offset)
select *
from identity
where
    environment_id = :environment_id
    and (:exact::text is null or identifier = :exact)
    and (:part::text is null or position(lower(:part) in lower(identifier)) > 0)
order by created_at, id
limit :limit::bigint offset :offset::bigint;

--! count (environment_id, exact, part)
select count(*)
from identity
where
    environment_id = :environment_id
    and (:exact::text is null or identifier = :exact)
    and (:part::text is null or position(lower(:part) in lower(identifier)) > 0);

--! get (environment_id, id)
select * from identity where environment_id = :environment_id and id = :id;

--! lock (environment_id, id)
select * from identity where environment_id = :environment_id and id = :id for update;

--! insert (environment_id, identifier, now)
insert into identity (environment_id, identifier, created_at)
values (:environment_id, :identifier, :now)
on conflict on constraint identity_identifier_key do nothing
returning *;

--! rename (id, identifier)
update identity set identifier = :identifier where id = :id;

--! delete (id)
delete from identity where id = :id;

--! has_overrides (id)
select exists (select from feature_state where identity_id = :id);

--! list_traits (identity_id, limit, offset)
select *
from identity_trait
where identity_id = :identity_id
order by id
limit :limit::bigint offset :offset::bigint;

--! count_traits (identity_id)
select count(*) from identity_trait where identity_id = :identity_id;

--! get_trait (identity_id, id)
select * from identity_trait where identity_id = :identity_id and id = :id;

--! insert_trait (identity_id, trait_key, value_type, string_value, integer_value, boolean_value, float_value, now, changed_at)
insert into identity_trait (
    identity_id,
    trait_key,
    value_type,
    string_value,
    integer_value,
    boolean_value,
    float_value,
    created_at,
    changed_at_micros
)
values (
    :identity_id,
    :trait_key,
    :value_type,
    :string_value,
    :integer_value,
    :boolean_value,
    :float_value,
    :now,
    :changed_at
)
returning *;

-- A change counts as later than the one before, whatever the clock says.
--! update_trait (id, trait_key, value_type, string_value, integer_value, boolean_value, float_value, changed_at)
update identity_trait
set
    trait_key = :trait_key,
    value_type = :value_type,
    string_value = :string_value,
    integer_value = :integer_value,
    boolean_value = :boolean_value,
    float_value = :float_value,
    changed_at_micros = greatest(:changed_at, changed_at_micros + 1)
where id = :id;

--! delete_trait (id)
delete from identity_trait where id = :id;

--! delete_trait_everywhere (environment_id, trait_key)
delete from identity_trait
using identity
where
    identity.id = identity_trait.identity_id
    and identity.environment_id = :environment_id
    and identity_trait.trait_key = :trait_key;

--! traits (identity_id)
select * from identity_trait where identity_id = :identity_id order by id;

--! delete_override (id)
delete from feature_state where id = :id;

-- Overrides that the source lacks go.
--! delete_other_overrides (source, target)
delete from feature_state
where
    identity_id = :target
    and feature_id not in (select feature_id from feature_state where identity_id = :source);

--! copy_overrides (source, target, now)
insert into feature_state (
    environment_id,
    feature_id,
    identity_id,
    enabled,
    value_type,
    string_value,
    integer_value,
    boolean_value,
    created_at,
    updated_at
)
select
    environment_id,
    feature_id,
    :target,
    enabled,
    value_type,
    string_value,
    integer_value,
    boolean_value,
    :now,
    :now
from feature_state
where identity_id = :source
order by id
on conflict (identity_id, feature_id) where identity_id is not null do update
set
    enabled = excluded.enabled,
    value_type = excluded.value_type,
    string_value = excluded.string_value,
    integer_value = excluded.integer_value,
    boolean_value = excluded.boolean_value,
    updated_at = excluded.updated_at;

--! copy_override_shares (source, target)
insert into multivariate_state_value (feature_state_id, multivariate_option_id, percentage_allocation)
select copy.id, share.multivariate_option_id, share.percentage_allocation
from feature_state as original
join feature_state as copy
    on copy.identity_id = :target
    and copy.feature_id = original.feature_id
join multivariate_state_value as share on share.feature_state_id = original.id
where original.identity_id = :source
on conflict on constraint multivariate_state_value_option_key do update
set percentage_allocation = excluded.percentage_allocation;
