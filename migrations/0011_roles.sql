-- A role that may write rows and nothing else: it changes no table, and not what was migrated. Whoever runs `migrate` owns
-- the tables; 0005 has the role that may only read. Roles belong to the whole server, as said there.

DO $$
DECLARE
    found REGCLASS;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'launch_monitor_writer') THEN
        BEGIN
            CREATE ROLE launch_monitor_writer NOLOGIN;
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'no right to create roles: launch_monitor_writer is skipped';
                RETURN;
            WHEN duplicate_object OR unique_violation THEN
                NULL;
        END;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO launch_monitor_writer', current_schema());
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO launch_monitor_writer', current_schema());
    EXECUTE format('GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA %I TO launch_monitor_writer', current_schema());
    -- What is an extension's is not ours to grant.
    FOR found IN
        SELECT c.oid FROM pg_class c
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
           AND c.relname <> 'schema_migrations'
           AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %s TO launch_monitor_writer', found);
    END LOOP;
    EXECUTE format(
        'ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO launch_monitor_writer',
        current_schema()
    );
    EXECUTE format(
        'ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT USAGE, SELECT ON SEQUENCES TO launch_monitor_writer', current_schema()
    );
END
$$;
