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

-- What was deleted lately, also of an identity of that name before it.
--! deleted (identity_id)
select deleted.trait_key, deleted.deleted_at_micros
from identity
join deleted_trait as deleted
    on deleted.environment_id = identity.environment_id
    and deleted.identifier = identity.identifier
where identity.id = :identity_id;

--! bury (identity_id, trait_keys, deleted_at)
insert into deleted_trait (environment_id, identifier, trait_key, deleted_at_micros)
select identity.environment_id, identity.identifier, gone.trait_key, gone.deleted_at
from identity
cross join unnest(:trait_keys::text[], :deleted_at::bigint[]) as gone (trait_key, deleted_at)
where identity.id = :identity_id
on conflict on constraint deleted_trait_pkey do update
set deleted_at_micros = excluded.deleted_at_micros;

--! exhume (identity_id, trait_keys)
delete from deleted_trait as deleted
using identity
where identity.id = :identity_id
  and deleted.environment_id = identity.environment_id
  and deleted.identifier = identity.identifier
  and deleted.trait_key = any(:trait_keys);

--! delete_traits (ids)
delete from identity_trait
where id = any(:ids);
