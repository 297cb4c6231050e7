-- A resource together with the caller's standing.

--! organisation (user_id, id)
select organisation.*, organisation_member.role
from organisation
left join organisation_member
    on organisation_member.organisation_id = organisation.id
    and organisation_member.user_id = :user_id
where organisation.id = :id;

--! project (user_id, id)
select project.*, organisation_member.role
from project
left join organisation_member
    on organisation_member.organisation_id = project.organisation_id
    and organisation_member.user_id = :user_id
where project.id = :id;

--! environment (user_id, api_key)
select environment.*, project.organisation_id, organisation_member.role
from environment
join project on project.id = environment.project_id
left join organisation_member
    on organisation_member.organisation_id = project.organisation_id
    and organisation_member.user_id = :user_id
where environment.api_key = :api_key;

--! environment_by_id (user_id, id)
select environment.*, project.organisation_id, organisation_member.role
from environment
join project on project.id = environment.project_id
left join organisation_member
    on organisation_member.organisation_id = project.organisation_id
    and organisation_member.user_id = :user_id
where environment.id = :id;

--! signers ()
select id, secret from edge_target where enabled order by id;
