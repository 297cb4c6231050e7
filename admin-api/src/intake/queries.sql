-- Batches of edges.

--! batch (id)
select skipped from edge_batch where id = :id;

-- Nothing when another request has taken it meanwhile.
--! insert_batch (id, target_id, edge, skipped, dropped, now)
insert into edge_batch (id, target_id, edge, skipped, dropped, taken_at)
values (:id, :target_id, :edge, :skipped, :dropped, :now)
on conflict (id) do nothing;

--! forget_batches (before)
delete from edge_batch where taken_at < :before;

--! environments (api_keys)
select id, api_key, project_id
from environment
where api_key = any(:api_keys);

-- In the order of the keys, as every batch does, so that two cannot wait for each other. An environment that was deleted
-- meanwhile has none.
--! insert_identities (environment_ids, identifiers, created_at)
insert into identity (environment_id, identifier, created_at)
select seen.environment_id, seen.identifier, seen.created_at
from unnest(:environment_ids::bigint[], :identifiers::text[], :created_at::timestamptz[])
    as seen (environment_id, identifier, created_at)
join environment on environment.id = seen.environment_id
order by seen.environment_id, seen.identifier collate "C"
on conflict on constraint identity_identifier_key do nothing;

-- Locked, so that what SDKs and people change meanwhile waits.
--! lock_identities (environment_ids, identifiers)
select identity.id, identity.environment_id, identity.identifier
from unnest(:environment_ids::bigint[], :identifiers::text[]) as seen (environment_id, identifier)
join identity
    on identity.environment_id = seen.environment_id
    and identity.identifier = seen.identifier
order by identity.id
for update of identity;

--! date_identities (environment_ids, identifiers, created_at)
update identity
set created_at = seen.created_at
from unnest(:environment_ids::bigint[], :identifiers::text[], :created_at::timestamptz[])
    as seen (environment_id, identifier, created_at)
where identity.environment_id = seen.environment_id
  and identity.identifier = seen.identifier
  and identity.created_at > seen.created_at;

--! delete_traits (identity_ids, keys, at)
delete from identity_trait
using unnest(:identity_ids::bigint[], :keys::text[], :at::bigint[]) as gone (identity_id, trait_key, at)
where identity_trait.identity_id = gone.identity_id
  and identity_trait.trait_key = gone.trait_key
  and identity_trait.changed_at_micros < gone.at;

-- The later change of a trait stays; a tie stays as it is.
--! upsert_traits (identity_ids, keys, value_types, strings, integers, booleans, floats, at)
insert into identity_trait (
    identity_id, trait_key, value_type, string_value, integer_value, boolean_value, float_value, changed_at_micros
)
select *
from unnest(
    :identity_ids::bigint[], :keys::text[], :value_types::text[], :strings::text[], :integers::bigint[],
    :booleans::boolean[], :floats::double precision[], :at::bigint[]
)
on conflict on constraint identity_trait_key_key do update
set value_type = excluded.value_type,
    string_value = excluded.string_value,
    integer_value = excluded.integer_value,
    boolean_value = excluded.boolean_value,
    float_value = excluded.float_value,
    changed_at_micros = excluded.changed_at_micros
where identity_trait.changed_at_micros < excluded.changed_at_micros;
