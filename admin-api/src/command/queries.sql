-- Overruling edges that are ahead of a restored database.

-- Nobody changes an environment until this is through, nor holds a row of one that we would wait for.
--! lock_publications ()
lock table environment, environment_tombstone in exclusive mode;

-- Past what any edge may hold: the sequence began with 1 and grows by changes, of which there are fewer than
-- milliseconds.
--! advance_versions ()
select setval('environment_version', greatest(
    nextval('environment_version'),
    (extract(epoch from clock_timestamp()) * 1000)::bigint
));

--! renew_tombstones (now)
update environment_tombstone
set version = nextval('environment_version'), updated_at = :now;

--! published_projects ()
select
    project.id,
    project.organisation_id,
    count(*) as environments
from project
join environment on environment.project_id = project.id
group by project.id
order by project.id;

--! edges ()
select name, url, enabled
from edge_target
order by id;
