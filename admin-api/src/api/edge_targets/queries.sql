-- What each target should hold and has confirmed. Held is the version up to which it has confirmed
-- everything. Last is the last confirmation of a change.
--! states (id, now)
select
    target.id,
    target.name,
    target.url,
    target.enabled,
    target.last_error,
    target.last_error_at,
    target.last_success_at,
    target.created_at,
    count(*) filter (where not publication.gone) as environments_total,
    count(*) filter (where not publication.gone and delivery.version >= publication.version)
        as environments_confirmed,
    count(publication.api_key) filter (where delivery.version is null or delivery.version < publication.version)
        as lacking,
    coalesce(max(publication.version), 0) as version_wanted,
    coalesce(
        min(publication.version) filter (where delivery.version is null or delivery.version < publication.version) - 1,
        max(publication.version),
        0
    ) as version_held,
    coalesce(
        greatest(extract(epoch from :now - min(publication.updated_at)
            filter (where delivery.version is null or delivery.version < publication.version)), 0),
        0
    )::double precision as lag_seconds,
    last.confirmed_at as last_confirmed_at,
    last.seconds as last_confirmed_after
from edge_target as target
left join lateral (
    select confirmed_at, extract(epoch from confirmed_at - changed_at)::double precision as seconds
    from edge_delivery
    where target_id = target.id
      and changed_at is not null
    order by confirmed_at desc
    limit 1
) as last on true
left join publication on true
left join edge_delivery as delivery
    on delivery.target_id = target.id
   and delivery.api_key = publication.api_key
where (:id::bigint is null or target.id = :id)
group by target.id, last.confirmed_at, last.seconds
order by target.id;

--! insert (name, url, secret, enabled, now)
insert into edge_target (name, url, secret, enabled, created_at)
values (:name, :url, :secret, :enabled, :now)
returning id;

--! lock (id)
select id, name, url, secret, enabled from edge_target where id = :id for update;

--! update (id, name, url, secret, enabled)
update edge_target
set name = :name, url = :url, secret = :secret, enabled = :enabled
where id = :id;

-- Another edge stands there now: what the old one confirmed says nothing about it.
--! forget_deliveries (id)
delete from edge_delivery where target_id = :id;

--! delete (id)
delete from edge_target where id = :id;
