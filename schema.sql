-- The table automc-router reads, and the triggers that tell it what to read again.
-- Safe to apply any number of times, to an empty database or over the older
-- table shapes (without `enabled` or settings, with a nullable `domain`):
--
--     psql "$AUTOMC_DSN" -f schema.sql        (or: automc-router check-db --fix)
--
-- The router itself only SELECTs; a role for it needs no more than
--     GRANT SELECT ON servers TO <role>;
-- and one that writes rows no more than its rights on servers.
-- What it remembers of servers outlives it here, if its role may write that down (else in a file,
-- AUTOMC_STATE_FILE, or not at all):
--     GRANT SELECT, INSERT, UPDATE ON automc_memory TO <role>;

BEGIN;

-- Two sessions that apply this file at once must not trip over each other.
SELECT pg_advisory_xact_lock(hashtext('automc schema'));

-- Where the table is, the rest belongs, and no second table in front of it: CREATE looks into the first
-- schema of search_path alone.
DO $$
BEGIN
    PERFORM set_config('search_path', relnamespace::regnamespace::text, true)
        FROM pg_class WHERE oid = to_regclass('servers');
END;
$$;

CREATE TABLE IF NOT EXISTS servers (
    name    TEXT PRIMARY KEY,                  -- what the server-manager calls the server
    domain  TEXT,                              -- the host name players type; NULL is not routed
    address TEXT NOT NULL,                     -- host:port of the backend, or of several, with
                                               -- commas: 'a:1, b:1 weight=2'; '' is not routed
    state   TEXT NOT NULL DEFAULT 'stopped',   -- a hint; a dial decides
    enabled BOOLEAN DEFAULT TRUE               -- FALSE takes the route out, NULL counts as TRUE
);

-- A table of this name that is somebody else's is left alone.
DO $$
DECLARE
    lacking TEXT;
BEGIN
    SELECT string_agg(needed, ', ') INTO lacking FROM unnest(ARRAY['name', 'domain', 'address']) AS needed
        WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'servers'::regclass
            AND attname = needed AND NOT attisdropped);
    IF lacking IS NOT NULL THEN
        RAISE EXCEPTION 'table servers has no column %; add it, or use another database or search_path', lacking;
    END IF;
END;
$$;

ALTER TABLE servers
    ADD COLUMN IF NOT EXISTS state TEXT NOT NULL DEFAULT 'stopped',
    ADD COLUMN IF NOT EXISTS enabled BOOLEAN DEFAULT TRUE,
    ADD COLUMN IF NOT EXISTS aliases TEXT;                 -- more host names for it

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
    ADD COLUMN IF NOT EXISTS down_after TEXT,              -- nobody played so long: a webhook stops it, '1h', 'off'
    ADD COLUMN IF NOT EXISTS proxy_protocol TEXT,          -- PROXY header its backend gets: 'v1', 'v2', 'none'
    ADD COLUMN IF NOT EXISTS balance TEXT,                 -- which of several backends: 'failover', 'round-robin',
                                                           -- 'least-players', 'address-hash'
    ADD COLUMN IF NOT EXISTS texts JSONB;                  -- what players read; an object, over the default's

-- One row for one host, as players type it: whatever the case, with or without a dot at the end. Two
-- rows can swap their domains, in one UPDATE or after SET CONSTRAINTS ALL DEFERRED; for that, an
-- INSERT … ON CONFLICT has to name its columns: (name). Rows that are in the way already are told, and
-- the constraint is left out until this file is applied again.
DO $$
DECLARE
    taken TEXT;
    older TEXT;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = 'servers'::regclass AND conname = 'automc_servers_domain') THEN
        ALTER TABLE servers ADD CONSTRAINT automc_servers_domain
            EXCLUDE USING btree (lower(rtrim(btrim(domain), '.')) WITH =)
            WHERE (rtrim(btrim(domain), '.') <> '') DEFERRABLE INITIALLY IMMEDIATE;
    END IF;
    -- What it takes the place of.
    FOR older IN SELECT conname FROM pg_constraint WHERE conrelid = 'servers'::regclass AND contype = 'u'
        AND conkey = (SELECT ARRAY[attnum] FROM pg_attribute WHERE attrelid = conrelid AND attname = 'domain')
    LOOP
        EXECUTE format('ALTER TABLE servers DROP CONSTRAINT %I', older);
    END LOOP;
EXCEPTION
    WHEN exclusion_violation THEN
        SELECT string_agg(rows.domain, ', ') INTO taken FROM (SELECT format('%s (%s)',
                lower(rtrim(btrim(domain), '.')), string_agg(name, ', ' ORDER BY name)) AS domain
            FROM servers WHERE rtrim(btrim(domain), '.') <> ''
            GROUP BY lower(rtrim(btrim(domain), '.')) HAVING count(*) > 1 ORDER BY 1 LIMIT 10) AS rows;
        RAISE WARNING 'several rows have one domain, so domains are not kept apart yet: %', taken;
    WHEN dependent_objects_still_exist THEN
        RAISE WARNING 'constraint % stays as it is, because something depends on it', older;
END;
$$;

-- What the router remembers of servers, for itself; written by it, so nothing is announced. Whatever
-- changes often (players, heartbeats) belongs into a table like this one and never into servers.
CREATE TABLE IF NOT EXISTS automc_memory (
    server  TEXT PRIMARY KEY,                  -- servers.name, or the host of a route without one
    memory  JSONB NOT NULL,                    -- last status, how long starts took
    updated TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- How often servers has changed, a transaction at a time and in the order of commits. Another epoch
-- is another history: a table made anew. Everybody may read it, since it tells nothing but that.
CREATE TABLE IF NOT EXISTS automc_revision (
    one      BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    epoch    TEXT NOT NULL DEFAULT md5(random()::text || clock_timestamp()::text),
    revision BIGINT NOT NULL DEFAULT 0
);
INSERT INTO automc_revision DEFAULT VALUES ON CONFLICT DO NOTHING;
GRANT SELECT ON automc_revision TO PUBLIC;

-- Always empty: rows are deleted as soon as they are inserted, and leave behind an event that runs
-- automc_announce at COMMIT, once for a transaction.
CREATE UNLOGGED TABLE IF NOT EXISTS automc_pending (at_commit BOOLEAN);

-- Notes that this transaction has changed the rows of these names; NULL is many, or nobody knows which.
-- The note is a setting of the transaction, so it goes with a savepoint that is rolled back. The
-- revision is not touched before COMMIT: transactions would wait for each other there, and for rows.
CREATE OR REPLACE FUNCTION automc_changed(changed TEXT[]) RETURNS void AS $$
DECLARE
    noted CONSTANT TEXT := COALESCE(current_setting('automc.changed', true), '');
    names TEXT := '*';
    place TID;
BEGIN
    IF noted <> '*' THEN
        IF array_position(changed, NULL) IS NULL AND cardinality(changed) <= 50 THEN
            SELECT jsonb_agg(name) INTO names FROM
                (SELECT jsonb_array_elements_text(NULLIF(noted, '')::jsonb) UNION SELECT unnest(changed)) AS every(name);
            -- A notification has room for 7,999 bytes.
            IF jsonb_array_length(names::jsonb) > 50 OR octet_length(names) > 7500 THEN
                names := '*';
            END IF;
        END IF;
        PERFORM set_config('automc.changed', names, true);
    END IF;
    IF noted = '' THEN
        INSERT INTO automc_pending DEFAULT VALUES RETURNING ctid INTO place;
        DELETE FROM automc_pending WHERE ctid = place;
    END IF;
END;
$$ LANGUAGE plpgsql;

-- Runs at COMMIT. From here to its end no other transaction gets a revision, so revisions become
-- visible one by one, and notifications come in their order.
CREATE OR REPLACE FUNCTION automc_announce() RETURNS trigger AS $$
DECLARE
    noted CONSTANT TEXT := current_setting('automc.changed', true);
    hint JSONB;
BEGIN
    PERFORM set_config('automc.changed', '', true);
    IF current_setting('transaction_isolation') = 'read committed' THEN
        UPDATE automc_revision SET revision = revision + 1
            RETURNING jsonb_build_object('epoch', epoch, 'revision', revision) INTO hint;
    ELSE
        BEGIN
            UPDATE automc_revision SET revision = revision + 1
                RETURNING jsonb_build_object('epoch', epoch, 'revision', revision) INTO hint;
        EXCEPTION WHEN serialization_failure THEN
            -- Somebody was faster. No writer is to fail for our sake: '' says to read everything.
            hint := NULL;
        END;
    END IF;
    IF left(noted, 1) = '[' THEN
        hint := hint || jsonb_build_object('names', noted::jsonb);
    END IF;
    PERFORM pg_notify('automc_routes_changed', COALESCE(hint::text, ''));
    RETURN NULL;
END;
$$ LANGUAGE plpgsql;

DROP TRIGGER IF EXISTS automc_announce ON automc_pending;
CREATE CONSTRAINT TRIGGER automc_announce AFTER INSERT ON automc_pending
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION automc_announce();

-- One statement has changed rows. What the router does not read is nothing to it; `name` and `enabled`
-- matter as much as the rest.
CREATE OR REPLACE FUNCTION automc_servers_changed() RETURNS trigger AS $$
DECLARE
    names TEXT[];
BEGIN
    -- Noted here, told on automc_routes_changed at COMMIT. Both are read by check-db.
    IF TG_OP = 'INSERT' THEN
        names := ARRAY(SELECT name::text FROM new_rows LIMIT 51);
    ELSIF TG_OP = 'DELETE' THEN
        names := ARRAY(SELECT name::text FROM old_rows LIMIT 51);
    ELSIF TG_OP = 'UPDATE' THEN
        BEGIN
            names := ARRAY(SELECT COALESCE(n.name, o.name)::text
                FROM old_rows o FULL JOIN new_rows n ON o.name = n.name
                WHERE (o.name, o.domain, o.address, o.state, o.enabled, o.aliases, o.join_methods, o.hold_max,
                        o.settle, o.forward_to, o.compression_hold, o.keep_transfer_intent, o.wake_allow,
                        o.wake_deny, o.wake_hours, o.min_online, o.down_after, o.proxy_protocol, o.balance, o.texts)
                    IS DISTINCT FROM
                    (n.name, n.domain, n.address, n.state, n.enabled, n.aliases, n.join_methods, n.hold_max,
                        n.settle, n.forward_to, n.compression_hold, n.keep_transfer_intent, n.wake_allow,
                        n.wake_deny, n.wake_hours, n.min_online, n.down_after, n.proxy_protocol, n.balance, n.texts)
                LIMIT 51);
        EXCEPTION WHEN undefined_column OR undefined_function THEN
            -- Somebody has dropped a column, or made one that cannot be compared. Writing must go on.
            names := NULL;
        END;
    END IF;
    -- NULL after TRUNCATE, too, which does not say what was there.
    IF names IS NULL OR names <> '{}' THEN
        PERFORM automc_changed(names);
    END IF;
    RETURN NULL;
END;
$$ LANGUAGE plpgsql;

-- One row has been changed by a subscription of logical replication, for which no statement triggers
-- run, or by a session that is a replica.
CREATE OR REPLACE FUNCTION automc_servers_replicated() RETURNS trigger AS $$
BEGIN
    -- Noted here, told on automc_routes_changed at COMMIT.
    IF TG_OP = 'INSERT' THEN
        PERFORM automc_changed(ARRAY[NEW.name::text]);
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM automc_changed(ARRAY[OLD.name::text]);
    ELSIF OLD *<> NEW THEN
        PERFORM automc_changed(ARRAY[OLD.name::text, NEW.name::text]);
    END IF;
    RETURN NULL;
END;
$$ LANGUAGE plpgsql;

-- Whoever may write servers needs no rights on the tables above: these run as their owner, and find
-- nothing in anybody else's schema.
DO $$
DECLARE
    home TEXT := (SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = 'servers'::regclass);
    ours TEXT;
BEGIN
    FOREACH ours IN ARRAY ARRAY['automc_changed(TEXT[])', 'automc_announce()',
        'automc_servers_changed()', 'automc_servers_replicated()']
    LOOP
        EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET search_path = pg_catalog, %s, pg_temp', ours, home);
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', ours);
    END LOOP;
END;
$$;

DROP TRIGGER IF EXISTS automc_servers_route_notify ON servers;
DROP TRIGGER IF EXISTS automc_servers_truncate_notify ON servers;
DROP TRIGGER IF EXISTS automc_servers_insert ON servers;
DROP TRIGGER IF EXISTS automc_servers_update ON servers;
DROP TRIGGER IF EXISTS automc_servers_delete ON servers;
DROP TRIGGER IF EXISTS automc_servers_truncate ON servers;
DROP TRIGGER IF EXISTS automc_servers_replicated ON servers;

-- Of the older table, if no trigger of somebody's own uses it.
DO $$
BEGIN
    DROP FUNCTION IF EXISTS automc_notify_routes_changed();
EXCEPTION WHEN dependent_objects_still_exist THEN
    NULL;
END;
$$;

-- PostgreSQL wants one of these for each event, and no list of columns.
CREATE TRIGGER automc_servers_insert AFTER INSERT ON servers
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION automc_servers_changed();
CREATE TRIGGER automc_servers_update AFTER UPDATE ON servers
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION automc_servers_changed();
CREATE TRIGGER automc_servers_delete AFTER DELETE ON servers
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION automc_servers_changed();
CREATE TRIGGER automc_servers_truncate AFTER TRUNCATE ON servers
    FOR EACH STATEMENT EXECUTE FUNCTION automc_servers_changed();
CREATE TRIGGER automc_servers_replicated AFTER INSERT OR UPDATE OR DELETE ON servers
    FOR EACH ROW EXECUTE FUNCTION automc_servers_replicated();

-- Those for statements run for ordinary sessions, that for rows for replicas, the others for both.
ALTER TABLE servers ENABLE REPLICA TRIGGER automc_servers_replicated;
ALTER TABLE servers ENABLE ALWAYS TRIGGER automc_servers_truncate;
ALTER TABLE automc_pending ENABLE ALWAYS TRIGGER automc_announce;

-- Routers that listen already look at the table's shape again.
SELECT pg_notify('automc_routes_changed', '');

COMMIT;
