-- The update locks the waiting job until this transaction ends: a worker that skips locked rows can
-- only take it after the change it stands for is visible.
--! enqueue (kind, key, run_at)
insert into job (kind, key, run_at, created_at)
values (:kind, :key, :run_at, :run_at)
on conflict (kind, key) where locked_until is null
do update set run_at = least(job.run_at, excluded.run_at);

--! notify (kind)
select pg_notify('yardarm_jobs', :kind);
