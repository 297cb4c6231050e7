-- How long it took from a change until an edge confirmed it.

-- When that was changed which was confirmed last; null where the confirmation says nothing about how long
-- that takes: the edge told that it holds it, or was added later.
ALTER TABLE edge_delivery ADD COLUMN changed_at timestamptz;
