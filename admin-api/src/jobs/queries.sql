-- The queue. Time is the database's, so that several processes agree on what is due.

--! enqueue_job (kind, key, payload, in_seconds)
select from enqueue_job(:kind, :key, :payload, now() + make_interval(secs => :in_seconds));

-- For each kind, as many due jobs as are free to run, oldest first. A job whose lease ran out is due.
--! take_jobs (kinds, free, lease_seconds)
with due as materialized (
    select due.id, due.due_at
    from unnest(:kinds::text[], :free::bigint[]) as wanted (kind, free)
    cross join lateral (
        select job.id, coalesce(job.locked_until, job.run_at) as due_at
        from job
        where job.kind = wanted.kind
          and coalesce(job.locked_until, job.run_at) <= now()
        order by coalesce(job.locked_until, job.run_at)
        limit wanted.free
        for update skip locked
    ) as due
)
update job
set lease = nextval('job_lease'),
    locked_until = now() + make_interval(secs => :lease_seconds),
    run_at = 'infinity',
    attempts = attempts + 1
from due
where job.id = due.id
returning
    job.id,
    job.kind,
    job.key,
    job.payload,
    job.generation,
    job.attempts,
    job.lease,
    extract(epoch from now() - due.due_at)::double precision as waited_seconds;

-- Nothing when it was enqueued again meanwhile, or the lease was lost.
--! complete_job (id, lease, generation)
delete from job
where id = :id
  and lease = :lease
  and generation = :generation;

-- Done for now: due when asked for meanwhile, or after the pause (null: only when asked for).
--! release_job (id, lease, pause_seconds)
update job
set lease = null,
    locked_until = null,
    attempts = 0,
    last_error = null,
    run_at = least(run_at, coalesce(now() + make_interval(secs => :pause_seconds), 'infinity'))
where id = :id
  and lease = :lease;

-- Due after the pause, or at once when it was asked for meanwhile.
--! fail_job (id, lease, error, pause_seconds)
update job
set lease = null,
    locked_until = null,
    last_error = :error,
    run_at = least(run_at, now() + make_interval(secs => :pause_seconds))
where id = :id
  and lease = :lease;

--! renew_leases (leases, lease_seconds)
update job
set locked_until = now() + make_interval(secs => :lease_seconds)
where lease = any(:leases)
returning lease;

-- For another process to take at once; not counted as an attempt.
--! give_back_leases (leases)
update job
set lease = null,
    locked_until = null,
    attempts = attempts - 1,
    run_at = now()
where lease = any(:leases);

--! queue_depth ()
select
    kind,
    count(*) filter (where lease is null) as waiting,
    count(*) filter (where lease is not null) as running,
    count(*) filter (where last_error is not null) as failing,
    coalesce(
        extract(epoch from max(now() - run_at) filter (where lease is null and run_at <= now())),
        0
    )::double precision as oldest_seconds
from job
group by kind
order by kind;
