--! list (user_id, organisation_id, uuid)
select project.*
from project
join organisation_member
    on organisation_member.organisation_id = project.organisation_id
    and organisation_member.user_id = :user_id
    and organisation_member.role = 'ADMIN'
where
    (:organisation_id::bigint is null or project.organisation_id = :organisation_id)
    and (:uuid::uuid is null or project.uuid = :uuid)
order by project.id;

--! standing (id, user_id)
select organisation_member.role
from users
join project on project.id = :id
left join organisation_member
    on organisation_member.organisation_id = project.organisation_id
    and organisation_member.user_id = users.id
where users.id = :user_id;

--! id_by_uuid (uuid)
select id from project where uuid = :uuid;

--! totals (id)
select
    (select count(*) from feature where project_id = :id) as features,
    (select count(*) from segment where project_id = :id and feature_id is null) as segments;

--! insert (organisation_id, name, now)
insert into project (organisation_id, name, created_at)
values (:organisation_id, :name, :now)
returning *;

--! lock (id)
select * from project where id = :id for update;

--! update (id, name, hide_disabled_flags, prevent_flag_defaults, enable_realtime_updates, only_allow_lower_case_feature_names, feature_name_regex, stale_flags_limit_days, minimum_change_request_approvals, enforce_feature_owners)
update project
set
    name = :name,
    hide_disabled_flags = :hide_disabled_flags,
    prevent_flag_defaults = :prevent_flag_defaults,
    enable_realtime_updates = :enable_realtime_updates,
    only_allow_lower_case_feature_names = :only_allow_lower_case_feature_names,
    feature_name_regex = :feature_name_regex,
    stale_flags_limit_days = :stale_flags_limit_days,
    minimum_change_request_approvals = :minimum_change_request_approvals,
    enforce_feature_owners = :enforce_feature_owners
where id = :id;

--! delete (id)
delete from project where id = :id;

--! environments (id)
select environment.*, project.organisation_id
from environment
join project on project.id = environment.project_id
where environment.project_id = :id
order by environment.id;
