-- The table automc-router reads, and the trigger that tells it to read again.
-- Safe to apply any number of times, to an empty database or over the older
-- table shapes (without `enabled` or settings, with a nullable `domain`):
--
--     psql "$AUTOMC_DSN" -f schema.sql
--
-- The router itself only SELECTs; a role for it needs no more than
--     GRANT SELECT ON servers TO <role>;
-- What it remembers of servers outlives it here, if its role may write that down (else in a file,
-- AUTOMC_STATE_FILE, or not at all):
--     GRANT SELECT, INSERT, UPDATE ON automc_memory TO <role>;

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

-- Settings of one route. NULL and '' are the configuration's default ([defaults]); so is what cannot
-- be honoured, which GET /sync tells. Lists are written with commas.
ALTER TABLE servers
    ADD COLUMN IF NOT EXISTS join_methods TEXT,            -- while it is not ready: 'hold,transfer,forward,kick'
    ADD COLUMN IF NOT EXISTS hold_max TEXT,                -- longest hold, '90s'
    ADD COLUMN IF NOT EXISTS settle TEXT,                  -- pause between ready and the first player, '3s'
    ADD COLUMN IF NOT EXISTS forward_to TEXT,              -- host:port that forward leads to, such as a lobby
    ADD COLUMN IF NOT EXISTS compression_hold BOOLEAN,     -- hold 1.8 to 1.12.2 with Set Compression(-1)
    ADD COLUMN IF NOT EXISTS keep_transfer_intent BOOLEAN, -- tell the backend that a player was transferred
    ADD COLUMN IF NOT EXISTS wake_allow TEXT,              -- who may wake it, names or UUIDs; '*' is everybody
    ADD COLUMN IF NOT EXISTS wake_deny TEXT,               -- who may not
    ADD COLUMN IF NOT EXISTS wake_hours TEXT,              -- when: 'mon-fri 08:00-22:00 Europe/Berlin', 'always'
    ADD COLUMN IF NOT EXISTS min_online TEXT,              -- how long it should stay up once ready, '10m'
    ADD COLUMN IF NOT EXISTS proxy_protocol TEXT,          -- PROXY header its backend gets: 'v1', 'v2', 'none'
    ADD COLUMN IF NOT EXISTS texts JSONB;                  -- what players read; an object, over the default's

-- What the router remembers of servers, for itself; written by it, so nothing is announced.
CREATE TABLE IF NOT EXISTS automc_memory (
    server  TEXT PRIMARY KEY,                  -- servers.name, or the host of a route without one
    memory  JSONB NOT NULL,                    -- last status, how long starts took
    updated TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE OR REPLACE FUNCTION automc_notify_routes_changed() RETURNS trigger AS $$
BEGIN
    PERFORM pg_notify('automc_routes_changed', '');
    RETURN NULL;
END;
$$ LANGUAGE plpgsql;

-- Everything the router reads. `name` and `enabled` matter as much as the rest:
-- the name is what it asks the server-manager for.
DROP TRIGGER IF EXISTS automc_servers_route_notify ON servers;
CREATE TRIGGER automc_servers_route_notify
    AFTER INSERT OR UPDATE OF name, domain, address, state, enabled, join_methods, hold_max, settle,
        forward_to, compression_hold, keep_transfer_intent, wake_allow, wake_deny, wake_hours, min_online,
        proxy_protocol, texts OR DELETE ON servers
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
