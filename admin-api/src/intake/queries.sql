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

-- A deletion stays known, whether the trait was there or not, unless something later is known already.
--! delete_traits (identity_ids, keys, at, forgotten)
with gone as (
    select identity.id, identity.environment_id, identity.identifier, gone.trait_key, gone.at
    from unnest(:identity_ids::bigint[], :keys::text[], :at::bigint[]) as gone (identity_id, trait_key, at)
    join identity on identity.id = gone.identity_id
    left join identity_trait as stored
        on stored.identity_id = gone.identity_id
        and stored.trait_key = gone.trait_key
    where stored.changed_at_micros is null
       or stored.changed_at_micros < gone.at
),
deleted as (
    delete from identity_trait
    using gone
    where identity_trait.identity_id = gone.id
      and identity_trait.trait_key = gone.trait_key
)
insert into deleted_trait (environment_id, identifier, trait_key, deleted_at_micros)
select environment_id, identifier, trait_key, at
from gone
where at > :forgotten
on conflict on constraint deleted_trait_pkey do update
set deleted_at_micros = excluded.deleted_at_micros
where deleted_trait.deleted_at_micros < excluded.deleted_at_micros;

-- The latest so many of an identity stay.
--! forget_most_deleted (identity_ids, at_most)
delete from deleted_trait
using (
    select
        deleted.environment_id,
        deleted.identifier,
        deleted.trait_key,
        row_number() over (
            partition by deleted.environment_id, deleted.identifier
            order by deleted.deleted_at_micros desc
        ) as place
    from (select distinct unnest(:identity_ids::bigint[]) as id) as seen
    join identity on identity.id = seen.id
    join deleted_trait as deleted
        on deleted.environment_id = identity.environment_id
        and deleted.identifier = identity.identifier
) as old
where old.place > :at_most
  and deleted_trait.environment_id = old.environment_id
  and deleted_trait.identifier = old.identifier
  and deleted_trait.trait_key = old.trait_key;

--! forget_deleted (before)
delete from deleted_trait where deleted_at_micros < :before;

-- The later change of a trait stays, a deletion like any other; a tie stays as it is.
--! upsert_traits (identity_ids, keys, value_types, strings, integers, booleans, floats, at)
with seen as (
    select *
    from unnest(
        :identity_ids::bigint[], :keys::text[], :value_types::text[], :strings::text[], :integers::bigint[],
        :booleans::boolean[], :floats::double precision[], :at::bigint[]
    ) as seen (
        identity_id, trait_key, value_type, string_value, integer_value, boolean_value, float_value, at
    )
),
deleted as (
    select
        seen.identity_id,
        deleted.environment_id,
        deleted.identifier,
        deleted.trait_key,
        deleted.deleted_at_micros >= seen.at as is_later
    from seen
    join identity on identity.id = seen.identity_id
    join deleted_trait as deleted
        on deleted.environment_id = identity.environment_id
        and deleted.identifier = identity.identifier
        and deleted.trait_key = seen.trait_key
),
exhumed as (
    delete from deleted_trait
    using deleted
    where not deleted.is_later
      and deleted_trait.environment_id = deleted.environment_id
      and deleted_trait.identifier = deleted.identifier
      and deleted_trait.trait_key = deleted.trait_key
)
insert into identity_trait (
    identity_id, trait_key, value_type, string_value, integer_value, boolean_value, float_value, changed_at_micros
)
select *
from seen
where not exists (
    select
    from deleted
    where deleted.is_later
      and deleted.identity_id = seen.identity_id
      and deleted.trait_key = seen.trait_key
)
on conflict on constraint identity_trait_key_key do update
set value_type = excluded.value_type,
    string_value = excluded.string_value,
    integer_value = excluded.integer_value,
    boolean_value = excluded.boolean_value,
    float_value = excluded.float_value,
    changed_at_micros = excluded.changed_at_micros
where identity_trait.changed_at_micros < excluded.changed_at_micros;
