--! signers ()
select id, secret from edge_target where enabled order by id;
