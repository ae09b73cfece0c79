-- A role that may read and nothing else: GRANT launch_monitor_reader TO somebody.
-- Roles belong to the whole server: another database may have made it already, or be making it right now.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'launch_monitor_reader') THEN
        BEGIN
            CREATE ROLE launch_monitor_reader NOLOGIN;
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'no right to create roles: launch_monitor_reader is skipped';
                RETURN;
            WHEN duplicate_object OR unique_violation THEN
                NULL;
        END;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO launch_monitor_reader', current_schema());
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO launch_monitor_reader', current_schema());
    EXECUTE format(
        'ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT ON TABLES TO launch_monitor_reader', current_schema()
    );
END
$$;
