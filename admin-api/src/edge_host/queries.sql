-- Identities as SDKs read and write them, by the environment's client-side key.

--! identity (api_key, identifier)
select identity.id, identity.created_at
from identity
join environment on environment.id = identity.environment_id
where environment.api_key = :api_key
  and identity.identifier = :identifier;

-- Locked: what is read now is what the change is made on.
--! lock_identity (api_key, identifier)
select identity.id, identity.created_at
from identity
join environment on environment.id = identity.environment_id
where environment.api_key = :api_key
  and identity.identifier = :identifier
for update of identity;

-- Nothing when somebody else was faster, or the environment is gone.
--! insert_identity (api_key, identifier, created_at)
insert into identity (environment_id, identifier, created_at)
select id, :identifier, :created_at
from environment
where api_key = :api_key
on conflict on constraint identity_identifier_key do nothing
returning id, created_at;

--! traits (identity_id)
select id, trait_key, value_type, string_value, integer_value, boolean_value, float_value, changed_at_micros
from identity_trait
where identity_id = :identity_id
order by id;

--! insert_trait (identity_id, trait_key, value_type, string_value, integer_value, boolean_value, float_value, changed_at)
insert into identity_trait
    (identity_id, trait_key, value_type, string_value, integer_value, boolean_value, float_value, changed_at_micros)
values
    (:identity_id, :trait_key, :value_type, :string_value, :integer_value, :boolean_value, :float_value, :changed_at)
returning id;

--! update_trait (id, value_type, string_value, integer_value, boolean_value, float_value, changed_at)
update identity_trait
set value_type = :value_type,
    string_value = :string_value,
    integer_value = :integer_value,
    boolean_value = :boolean_value,
    float_value = :float_value,
    changed_at_micros = :changed_at
where id = :id;

--! delete_traits (ids)
delete from identity_trait
where id = any(:ids);
