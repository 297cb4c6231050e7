--! list (user_id, lim, off)
select
    organisation.*,
    mine.role,
    (select count(*) from organisation_member where organisation_id = organisation.id) as num_seats
from organisation
join organisation_member as mine on mine.organisation_id = organisation.id and mine.user_id = :user_id
order by organisation.id
limit :lim offset :off;

--! count (user_id)
select count(*) from organisation_member where user_id = :user_id;

--! seats (id)
select count(*) as num_seats from organisation_member where organisation_id = :id;

--! id_by_uuid (uuid)
select id from organisation where uuid = :uuid;

--! insert (name, now)
insert into organisation (name, created_at) values (:name, :now) returning *;

--! insert_member (organisation_id, user_id, role, now)
insert into organisation_member (organisation_id, user_id, role, joined_at)
values (:organisation_id, :user_id, :role, :now);

--! lock (id)
select * from organisation where id = :id for update;

--! update (id, name, webhook_notification_email, restrict_project_create_to_admin, force_2fa)
update organisation
set
    name = :name,
    webhook_notification_email = :webhook_notification_email,
    restrict_project_create_to_admin = :restrict_project_create_to_admin,
    force_2fa = :force_2fa
where id = :id;

--! delete (id)
delete from organisation where id = :id;

--! projects (id)
select * from project where organisation_id = :id order by id;

--! members (id, except_user_id)
select
    users.id,
    users.email,
    users.first_name,
    users.last_name,
    users.last_login,
    users.uuid,
    organisation_member.role,
    organisation_member.joined_at
from organisation_member
join users on users.id = organisation_member.user_id
where
    organisation_member.organisation_id = :id
    and (:except_user_id::bigint is null or users.id <> :except_user_id)
order by users.id;

--! member (id, user_id)
select
    users.id,
    users.email,
    users.first_name,
    users.last_name,
    users.last_login,
    users.uuid,
    organisation_member.role,
    organisation_member.joined_at
from organisation_member
join users on users.id = organisation_member.user_id
where organisation_member.organisation_id = :id and users.id = :user_id;

--! set_role (id, user_id, role)
update organisation_member set role = :role where organisation_id = :id and user_id = :user_id;

--! remove_members (id, user_ids)
delete from organisation_member
where organisation_id = :id and user_id = any(:user_ids)
returning user_id;

--! standing (id, user_id)
select role from organisation_member where organisation_id = :id and user_id = :user_id;
