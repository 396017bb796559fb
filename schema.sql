-- The table automc-router reads, and the trigger that tells it to read again.
-- Safe to apply any number of times, to an empty database or over the older
-- table shapes (without `enabled`, with a nullable `domain`):
--
--     psql "$AUTOMC_DSN" -f schema.sql
--
-- The router itself only ever SELECTs; a role for it needs no more than
--     GRANT SELECT ON servers TO <role>;

BEGIN;

-- Two sessions that apply this file at once must not trip over each other.
SELECT pg_advisory_xact_lock(hashtext('automc schema'));

CREATE TABLE IF NOT EXISTS servers (
    name    TEXT PRIMARY KEY,                  -- what the server-manager calls the server
    domain  TEXT,                              -- the host name players type; NULL is not routed
    address TEXT NOT NULL,                     -- host:port of the backend; '' is not routed
    state   TEXT NOT NULL DEFAULT 'stopped',   -- a hint; a dial decides
    enabled BOOLEAN DEFAULT TRUE,              -- FALSE takes the route out, NULL counts as TRUE
    UNIQUE (domain)
);

ALTER TABLE servers ADD COLUMN IF NOT EXISTS enabled BOOLEAN DEFAULT TRUE;

CREATE OR REPLACE FUNCTION automc_notify_routes_changed() RETURNS trigger AS $$
BEGIN
    PERFORM pg_notify('automc_routes_changed', '');
    RETURN NULL;
END;
$$ LANGUAGE plpgsql;

-- `name` and `enabled` matter to the router as much as the rest: the name is
-- what it asks the server-manager for.
DROP TRIGGER IF EXISTS automc_servers_route_notify ON servers;
CREATE TRIGGER automc_servers_route_notify
    AFTER INSERT OR UPDATE OF name, domain, address, state, enabled OR DELETE ON servers
    FOR EACH ROW EXECUTE FUNCTION automc_notify_routes_changed();

-- Row triggers do not see TRUNCATE.
DROP TRIGGER IF EXISTS automc_servers_truncate_notify ON servers;
CREATE TRIGGER automc_servers_truncate_notify
    AFTER TRUNCATE ON servers
    FOR EACH STATEMENT EXECUTE FUNCTION automc_notify_routes_changed();

-- Rows that arrive by logical replication or a restore count too.
ALTER TABLE servers ENABLE ALWAYS TRIGGER automc_servers_route_notify;
ALTER TABLE servers ENABLE ALWAYS TRIGGER automc_servers_truncate_notify;

COMMIT;
