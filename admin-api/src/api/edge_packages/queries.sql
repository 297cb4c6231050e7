--! of_client_key (api_key)
select api_key, version from publication where api_key = :api_key;

-- An edge that asks has lost what it confirmed, its identities included, or never had it.
--! forget_delivery (target_id, api_key)
delete from edge_delivery where target_id = :target_id and api_key = :api_key;

--! of_server_key (sha256)
select environment.api_key, environment.version
from environment_key
join environment on environment.id = environment_key.environment_id
where environment_key.sha256 = :sha256;
