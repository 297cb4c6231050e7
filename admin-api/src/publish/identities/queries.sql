-- Which targets have to be told of which traits. All edges, also those that are disabled for now. One that was to be told
-- already is told of the latest state; its mark moves on, so that who was telling it meanwhile does not take it away.

-- Of one trait, or of all (null). Before a deletion: it has to be there.
--! mark_traits (identity_ids, trait_key, now)
insert into edge_identity_change (target_id, environment_id, identifier, trait_key, created_at, changed_at_micros)
select
    target.id,
    identity.environment_id,
    identity.identifier,
    identity_trait.trait_key,
    identity.created_at,
    greatest(:now, identity_trait.changed_at_micros + 1)
from identity
join identity_trait on identity_trait.identity_id = identity.id
join edge_target as target on target.url !~ '^(s3|file):'
where identity.id = any(:identity_ids)
  and (:trait_key::text is null or identity_trait.trait_key = :trait_key)
order by target.id, identity.identifier, identity_trait.trait_key
on conflict on constraint edge_identity_change_pkey do update
set changed_at_micros = greatest(excluded.changed_at_micros, edge_identity_change.changed_at_micros + 1);

-- Before a deletion, remembered so that nothing older brings the traits back.
--! bury_traits (identity_ids, trait_key, now)
insert into deleted_trait (environment_id, identifier, trait_key, deleted_at_micros)
select
    identity.environment_id,
    identity.identifier,
    identity_trait.trait_key,
    greatest(:now, identity_trait.changed_at_micros + 1)
from identity
join identity_trait on identity_trait.identity_id = identity.id
where identity.id = any(:identity_ids)
  and (:trait_key::text is null or identity_trait.trait_key = :trait_key)
on conflict on constraint deleted_trait_pkey do update
set deleted_at_micros = greatest(excluded.deleted_at_micros, deleted_trait.deleted_at_micros);

-- In the order in which everybody locks them.
--! lock_all_with_trait (environment_id, trait_key)
select identity.id
from identity
where identity.environment_id = :environment_id
  and exists (
      select
      from identity_trait
      where identity_trait.identity_id = identity.id
        and identity_trait.trait_key = :trait_key
  )
order by identity.id
for update;

-- What is set again is later than its deletion, whatever the clocks say, and not deleted any more.
--! exhume_traits (identity_id, trait_key)
with exhumed as (
    delete from deleted_trait as deleted
    using identity, identity_trait
    where identity.id = :identity_id
      and identity_trait.identity_id = identity.id
      and (:trait_key::text is null or identity_trait.trait_key = :trait_key)
      and deleted.environment_id = identity.environment_id
      and deleted.identifier = identity.identifier
      and deleted.trait_key = identity_trait.trait_key
    returning identity_trait.id, deleted.deleted_at_micros
)
update identity_trait
set changed_at_micros = greatest(identity_trait.changed_at_micros, exhumed.deleted_at_micros + 1)
from exhumed
where identity_trait.id = exhumed.id;

-- Under another name all of an identity's traits are set anew.
--! renew_traits (identity_id, now)
update identity_trait
set changed_at_micros = greatest(:now, changed_at_micros + 1)
where identity_id = :identity_id;

--! mark_identity (identity_id, now)
insert into edge_identity_change (target_id, environment_id, identifier, trait_key, created_at, changed_at_micros)
select target.id, identity.environment_id, identity.identifier, '', identity.created_at, :now
from identity
join edge_target as target on target.url !~ '^(s3|file):'
where identity.id = :identity_id
order by target.id
on conflict on constraint edge_identity_change_pkey do update
set changed_at_micros = greatest(excluded.changed_at_micros, edge_identity_change.changed_at_micros + 1);

--! enqueue ()
select count(enqueue_job('tell_identities', target.id::text, jsonb_build_object('target_id', target.id), now()))
from (select id from edge_target where enabled and url !~ '^(s3|file):' order by id) as target;

-- What a target has to be told, with what is true now.
--! marked (target_id, except_environments, at_most)
select
    mark.environment_id,
    environment.api_key,
    mark.identifier,
    mark.trait_key,
    mark.created_at,
    mark.changed_at_micros as marked_at,
    coalesce(deleted.deleted_at_micros, mark.changed_at_micros) as deleted_at,
    identity.id as identity_id,
    identity_trait.id,
    identity_trait.value_type,
    identity_trait.string_value,
    identity_trait.integer_value,
    identity_trait.boolean_value,
    identity_trait.float_value,
    identity_trait.changed_at_micros
from edge_identity_change as mark
join environment on environment.id = mark.environment_id
left join identity
    on identity.environment_id = mark.environment_id
    and identity.identifier = mark.identifier
left join identity_trait
    on identity_trait.identity_id = identity.id
    and identity_trait.trait_key = mark.trait_key
left join deleted_trait as deleted
    on deleted.environment_id = mark.environment_id
    and deleted.identifier = mark.identifier
    and deleted.trait_key = mark.trait_key
where mark.target_id = :target_id
  and mark.environment_id <> all(:except_environments)
order by mark.environment_id, mark.identifier, mark.trait_key
limit :at_most;

-- But for what was marked again meanwhile.
--! told (target_id, environment_id, identifiers, trait_keys, marked_at)
delete from edge_identity_change as mark
using unnest(:identifiers::text[], :trait_keys::text[], :marked_at::bigint[])
    as told (identifier, trait_key, marked_at)
where mark.target_id = :target_id
  and mark.environment_id = :environment_id
  and mark.identifier = told.identifier
  and mark.trait_key = told.trait_key
  and mark.changed_at_micros = told.marked_at;

-- What every edge is told of.

--! has_changes ()
select exists (select from identity where change_number is null);

--! lock_numbers ()
select pg_advisory_xact_lock(7235421102);

-- Under the lock above, which the next one gets after our commit only. Who is being changed just now is numbered next time.
--! number_changes (at_most)
update identity
set change_number = nextval('identity_change')
where id = any(array(
    select id
    from identity
    where change_number is null
    order by id
    limit :at_most
    for update skip locked
));

-- The environments that a target holds and has not been told all identities of, with the end of the next page.
--! behind (target_id, except_environments, at_most)
select
    environment.id,
    environment.api_key,
    delivery.life,
    delivery.identities_told as told,
    page.last
from edge_delivery as delivery
join environment on environment.api_key = delivery.api_key
cross join lateral (
    select max(next.change_number) as last
    from (
        select identity.change_number
        from identity
        where identity.environment_id = environment.id
          and identity.change_number > delivery.identities_told
          and identity.change_number > 0
        order by identity.change_number
        limit :at_most
    ) as next
) as page
where delivery.target_id = :target_id
  and environment.id <> all(:except_environments)
  and page.last is not null
order by environment.id;

-- All that is known of the identities of a page, deletions included, from a place in it on.
--! versions (environment_id, told, last, after_number, after_key, at_most)
select
    identity.change_number,
    identity.identifier,
    identity.created_at,
    version.id,
    version.trait_key,
    version.value_type,
    version.string_value,
    version.integer_value,
    version.boolean_value,
    version.float_value,
    version.changed_at_micros
from identity
cross join lateral (
    select
        identity_trait.id,
        identity_trait.trait_key,
        identity_trait.value_type,
        identity_trait.string_value,
        identity_trait.integer_value,
        identity_trait.boolean_value,
        identity_trait.float_value,
        identity_trait.changed_at_micros
    from identity_trait
    where identity_trait.identity_id = identity.id
    union all
    select null, deleted.trait_key, null, null, null, null, null, deleted.deleted_at_micros
    from deleted_trait as deleted
    where deleted.environment_id = identity.environment_id
      and deleted.identifier = identity.identifier
) as version
where identity.environment_id = :environment_id
  and identity.change_number > 0
  and identity.change_number > :told
  and identity.change_number <= :last
  and (identity.change_number, version.trait_key) > (:after_number, :after_key)
order by identity.change_number, version.trait_key
limit :at_most;

-- Unless the edge lost the environment meanwhile.
--! handed_over (target_id, api_key, life, told, last)
update edge_delivery
set identities_told = :last
where target_id = :target_id
  and api_key = :api_key
  and life = :life
  and identities_told = :told;
