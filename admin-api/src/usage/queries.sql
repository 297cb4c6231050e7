-- Whose counts these are: in the main database.

--! places (api_keys)
select
    environment.id as environment_id,
    environment.api_key,
    environment.name as environment,
    project.id as project_id,
    project.name as project,
    organisation.id as organisation_id,
    organisation.name as organisation
from environment
join project on project.id = environment.project_id
join organisation on organisation.id = project.organisation_id
where environment.api_key = any(:api_keys);

--! features (project_ids, names)
select project_id, name
from feature
where project_id = any(:project_ids)
  and name = any(:names);

-- From here on: the tables of usage, which may be in a database of their own.

-- Nothing when the batch is there.
--! insert_batch (id, now)
insert into usage_batch (id, taken_at)
values (:id, :now)
on conflict (id) do nothing;

--! insert_requests (environment_ids, resources, hosts, labels, minutes, counts)
insert into request_raw (environment_id, resource, host, labels, minute, quarter, count)
select environment_id, resource, host, labels, minute, date_bin('15 minutes', minute, 'epoch'), count
from unnest(
    :environment_ids::bigint[], :resources::smallint[], :hosts::text[], :labels::jsonb[], :minutes::timestamptz[],
    :counts::bigint[]
) as counted (environment_id, resource, host, labels, minute, count);

--! insert_evaluations (environment_ids, feature_names, identifiers, enabled, labels, minutes, counts)
insert into evaluation_raw (
    environment_id, feature_name, identity_identifier, enabled_when_evaluated, labels, minute, quarter, count
)
select
    environment_id, feature_name, identifier, enabled, labels, minute, date_bin('15 minutes', minute, 'epoch'), count
from unnest(
    :environment_ids::bigint[], :feature_names::text[], :identifiers::text[], :enabled::boolean[], :labels::jsonb[],
    :minutes::timestamptz[], :counts::bigint[]
) as counted (environment_id, feature_name, identifier, enabled, labels, minute, count);

--! touch (minutes)
insert into usage_touched (quarter)
select distinct date_bin('15 minutes', minute, 'epoch')
from unnest(:minutes::timestamptz[]) as minute;

-- Buckets. Any number will do for the lock.

--! lock_buckets ()
select pg_advisory_xact_lock(7235421101);

-- What transactions still open have touched is not seen, and stays for the next time.
--! take_touched (at_most)
with chosen as (
    select distinct quarter from usage_touched order by quarter limit :at_most
), taken as (
    delete from usage_touched
    where quarter in (select quarter from chosen)
    returning quarter
)
select distinct quarter from taken;

--! fill_request_quarters (quarters)
with gone as (
    delete from request_bucket where minutes = 15 and starts_at = any(:quarters)
)
insert into request_bucket (minutes, starts_at, environment_id, resource, host, labels, count)
select 15, quarter, environment_id, resource, host, labels, sum(count)::bigint
from request_raw
where quarter = any(:quarters)
group by quarter, environment_id, resource, host, labels;

--! fill_evaluation_quarters (quarters)
with gone as (
    delete from evaluation_bucket where minutes = 15 and starts_at = any(:quarters)
)
insert into evaluation_bucket (minutes, starts_at, environment_id, feature_name, labels, count)
select 15, quarter, environment_id, feature_name, labels, sum(count)::bigint
from evaluation_raw
where quarter = any(:quarters)
group by quarter, environment_id, feature_name, labels;

--! fill_request_hours (quarters)
with hour as (
    select distinct date_bin('1 hour', quarter, 'epoch') as starts_at
    from unnest(:quarters::timestamptz[]) as quarter
), gone as (
    delete from request_bucket where minutes = 60 and starts_at in (select starts_at from hour)
)
insert into request_bucket (minutes, starts_at, environment_id, resource, host, labels, count)
select 60, hour.starts_at, bucket.environment_id, bucket.resource, bucket.host, bucket.labels, sum(bucket.count)::bigint
from hour
join request_bucket as bucket
    on bucket.minutes = 15
    and bucket.starts_at >= hour.starts_at
    and bucket.starts_at < hour.starts_at + interval '1 hour'
group by hour.starts_at, bucket.environment_id, bucket.resource, bucket.host, bucket.labels;

--! fill_evaluation_hours (quarters)
with hour as (
    select distinct date_bin('1 hour', quarter, 'epoch') as starts_at
    from unnest(:quarters::timestamptz[]) as quarter
), gone as (
    delete from evaluation_bucket where minutes = 60 and starts_at in (select starts_at from hour)
)
insert into evaluation_bucket (minutes, starts_at, environment_id, feature_name, labels, count)
select 60, hour.starts_at, bucket.environment_id, bucket.feature_name, bucket.labels, sum(bucket.count)::bigint
from hour
join evaluation_bucket as bucket
    on bucket.minutes = 15
    and bucket.starts_at >= hour.starts_at
    and bucket.starts_at < hour.starts_at + interval '1 hour'
group by hour.starts_at, bucket.environment_id, bucket.feature_name, bucket.labels;

-- Retention.

--! forget_requests (before)
delete from request_raw where quarter < :before;

--! forget_evaluations (before)
delete from evaluation_raw where quarter < :before;

--! forget_request_buckets (before)
delete from request_bucket where minutes in (15, 60) and starts_at < :before;

--! forget_evaluation_buckets (before)
delete from evaluation_bucket where minutes in (15, 60) and starts_at < :before;

--! forget_batches (before)
delete from usage_batch where taken_at < :before;

-- Days.

--! request_days (environment_ids, from, until, labels)
select (starts_at at time zone 'UTC')::date as day, labels, resource, sum(count)::bigint as count
from request_bucket
where environment_id = any(:environment_ids)
  and minutes = 60
  and starts_at >= :from
  and starts_at < :until
  and labels @> :labels
group by 1, 2, 3
order by 1;

--! evaluation_days (environment_id, feature_name, from, until, labels)
select (starts_at at time zone 'UTC')::date as day, labels, sum(count)::bigint as count
from evaluation_bucket
where environment_id = :environment_id
  and feature_name = :feature_name
  and minutes = 60
  and starts_at >= :from
  and starts_at < :until
  and labels @> :labels
group by 1, 2
order by 1, 2;
