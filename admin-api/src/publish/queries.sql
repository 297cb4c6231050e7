-- Reading an environment to publish it. All of these run in one REPEATABLE READ transaction, so that
-- the version and the rows belong together.

--! environment (api_key)
select
    environment.id,
    environment.name,
    environment.version,
    environment.updated_at,
    environment.allow_client_traits,
    environment.hide_disabled_flags,
    environment.hide_sensitive_data,
    environment.use_identity_composite_key_for_hashing,
    environment.use_identity_overrides_in_local_eval,
    project.id as project_id,
    project.name as project_name,
    project.hide_disabled_flags as project_hide_disabled_flags,
    project.enable_realtime_updates,
    organisation.id as organisation_id,
    organisation.name as organisation_name,
    organisation.feature_analytics,
    organisation.stop_serving_flags,
    organisation.persist_trait_data
from environment
join project on project.id = environment.project_id
join organisation on organisation.id = project.organisation_id
where environment.api_key = :api_key;

--! tombstone (api_key)
select version, updated_at
from environment_tombstone
where api_key = :api_key;

--! features (project_id)
select
    id,
    name,
    type as kind,
    created_at,
    description,
    initial_value,
    default_enabled,
    is_server_key_only
from feature
where project_id = :project_id
order by id;

-- Environment defaults by feature, then segment overrides by segment and priority, then identity
-- overrides by identity.
--! feature_states (environment_id)
select
    state.id,
    state.uuid,
    state.feature_id,
    state.feature_segment_id,
    feature_segment.segment_id,
    feature_segment.priority,
    state.identity_id,
    state.enabled,
    state.value_type,
    state.string_value,
    state.integer_value,
    state.boolean_value,
    coalesce(state.hashing_salt, state.id) as salt
from feature_state as state
left join feature_segment on feature_segment.id = state.feature_segment_id
where state.environment_id = :environment_id
order by
    feature_segment.segment_id nulls first,
    feature_segment.priority,
    state.identity_id nulls first,
    case when state.feature_segment_id is null and state.identity_id is null then state.feature_id end,
    state.id;

--! multivariate_values (environment_id)
select
    value.feature_state_id,
    value.id,
    value.uuid,
    value.percentage_allocation,
    option.id as option_id,
    option.key,
    option.type as value_type,
    option.string_value,
    option.integer_value,
    option.boolean_value
from feature_state as state
join multivariate_state_value as value on value.feature_state_id = state.id
join multivariate_option as option on option.id = value.multivariate_option_id
where state.environment_id = :environment_id
order by value.feature_state_id, value.id;

-- A segment made for one feature is of no use where that feature has no override for it.
--! segments (project_id, environment_id)
select segment.id, segment.name, segment.description, segment.rules
from segment
where segment.project_id = :project_id
  and (
      segment.feature_id is null
      or exists (
          select
          from feature_segment
          join feature_state on feature_state.feature_segment_id = feature_segment.id
          where feature_segment.segment_id = segment.id
            and feature_segment.environment_id = :environment_id
      )
  )
order by segment.id;

--! overridden_identities (environment_id)
select identity.id, identity.identifier, identity.created_at
from identity
where identity.environment_id = :environment_id
  and exists (select from feature_state where feature_state.identity_id = identity.id)
order by identity.id;

--! server_keys (environment_id)
select encode(sha256, 'hex') as sha256, active, expires_at
from environment_key
where environment_id = :environment_id
order by id;

-- What should be held, and what is known to be.

--! wanted (api_keys)
select api_key, version, updated_at, gone
from publication
where api_key = any(:api_keys);

--! wanted_everywhere ()
select api_key, version, updated_at, gone
from publication;

-- Newest first: a switch thrown now does not wait behind a new edge's first filling.
--! lacking (target_id, except_keys, at_most)
select publication.api_key, publication.version, publication.updated_at, publication.gone
from publication
left join edge_delivery as delivery
    on delivery.target_id = :target_id
   and delivery.api_key = publication.api_key
where (delivery.version is null or delivery.version < publication.version)
  and publication.api_key <> all(:except_keys)
order by publication.version desc
limit :at_most;

-- A change from before the target was known says nothing about how long changes take.
--! confirm_delivery (target_id, api_key, version, changed_at, now)
insert into edge_delivery (target_id, api_key, version, changed_at, confirmed_at)
select id, :api_key, :version, case when :changed_at >= created_at then :changed_at end, :now
from edge_target
where id = :target_id
on conflict (target_id, api_key) do update
set version = greatest(edge_delivery.version, excluded.version),
    changed_at = excluded.changed_at,
    confirmed_at = excluded.confirmed_at;

-- What the edge told that it holds is as good as confirmed…
--! confirm_held (target_id, api_keys, versions, now)
insert into edge_delivery (target_id, api_key, version, confirmed_at)
select :target_id, held.api_key, held.version, :now
from unnest(:api_keys::text[], :versions::bigint[]) as held (api_key, version)
join publication on publication.api_key = held.api_key
on conflict (target_id, api_key) do update
set version = excluded.version,
    changed_at = null,
    confirmed_at = excluded.confirmed_at
where edge_delivery.version < excluded.version;

-- … and what it does not hold any more has to be delivered again, unless it was confirmed since we
-- asked.
--! forget_deliveries (target_id, api_keys, versions, asked_at)
delete from edge_delivery as delivery
where delivery.target_id = :target_id
  and delivery.confirmed_at < :asked_at
  and not exists (
      select
      from unnest(:api_keys::text[], :versions::bigint[]) as held (api_key, version)
      where held.api_key = delivery.api_key
        and held.version >= delivery.version
  );

-- The edge holds what Postgres has never published: newer versions than it knows of.
--! ahead_of_us (api_keys, versions)
select count(*)
from unnest(:api_keys::text[], :versions::bigint[]) as held (api_key, version)
join publication on publication.api_key = held.api_key
where held.version > publication.version;

-- Held, but not by what the database says: unknown to it, or newer.
--! not_ours (api_keys, versions)
select count(*)
from unnest(:api_keys::text[], :versions::bigint[]) as held (api_key, version)
left join publication on publication.api_key = held.api_key
where publication.api_key is null
   or held.version > publication.version;

-- Targets.

--! target (target_id)
select id, name, url, secret, enabled, last_error, created_at
from edge_target
where id = :target_id;

--! target_succeeded (target_id, now)
update edge_target
set last_success_at = :now, last_error = null, last_error_at = null
where id = :target_id;

--! target_failed (target_id, error, now)
update edge_target
set last_error = :error, last_error_at = :now
where id = :target_id;

-- Wakes a delivery for each target. That covers every change announced so far, not only the one whose
-- job this is; those of transactions still open are locked and stay. Targets in the order of ids, so
-- that two transactions cannot wait for each other.
--! hand_over ()
with covered as (
    -- By place rather than by id: a plan made while the queue was short would join row by row.
    delete from job
    where ctid = any(array(
        select ctid from job where kind = 'publish' and lease is null for update skip locked
    ))
)
select count(enqueue_job('deliver', target.id::text, jsonb_build_object('target_id', target.id), now()))
from (select id from edge_target where enabled order by id) as target;

--! enqueue_reconciliations ()
select count(enqueue_job('reconcile', target.id::text, jsonb_build_object('target_id', target.id), now()))
from (select id from edge_target where enabled order by id) as target;

-- Client-side keys whose publication this transaction has enqueued.
--! changed_keys ()
select key
from job
where kind = 'publish'
  and enqueued_by = pg_current_xact_id();

-- Purges that wait beside one that runs.
--! waiting_purges (key, at_most)
select key, generation
from job
where kind = 'purge'
  and lease is null
  and key <> :key
order by run_at
limit :at_most;

-- Done along with another, unless asked for again meanwhile.
--! purged (keys, generations)
delete from job
using unnest(:keys::text[], :generations::bigint[]) as done (key, generation)
where job.kind = 'purge'
  and job.lease is null
  and job.key = done.key
  and job.generation = done.generation;
