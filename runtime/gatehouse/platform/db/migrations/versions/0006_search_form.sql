-- Searches that ignore how a name was typed
-- As `core.texts.search_form`: without joiners, composed, in lower case.
CREATE FUNCTION search_form(value text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN lower(normalize(translate(value, U&'\200C\200D', ''), NFKC));
-- The planner estimates how many names a search matches.
CREATE STATISTICS api_key_name_form ON (search_form(name)) FROM api_key;
CREATE STATISTICS api_key_owner_form ON (search_form(owner)) FROM api_key;
DROP INDEX api_key_search;
CREATE OR REPLACE FUNCTION trigrams(value text) RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000 AS $$
DECLARE
    result text[] := '{}';
BEGIN
    -- As search_form, which an index cannot call by a name without its schema.
    value := lower(normalize(translate(value, U&'\200C\200D', ''), NFKC));
    FOR start IN 1..length(value) - 2 LOOP
        result[start] := substr(value, start, 3);
    END LOOP;
    RETURN result;
END $$;
CREATE INDEX api_key_search ON api_key USING gin (
    trigrams('  ' || name || E'\n  ' || owner || E'\n##' || left(id, 3)))
    WITH (gin_pending_list_limit = 256);
