-- Version 11: the role that the Worker connects as. It owns nothing and reads no table: it may call six functions, and
-- become the roles that it is a member of in order to judge as them.
select pg_advisory_xact_lock(7261401);

-- A plain database owner may not create roles. The installation is complete without: whoever may create it does so, and
-- then `select realtime_worker.grant_reader()` gives it its rights.
do $$
begin
    if not exists (select from pg_catalog.pg_roles where rolname = 'realtime_worker_reader') then
        create role realtime_worker_reader login;
        -- A policy that hangs is cut off; READ COMMITTED, because `take` looks again within one call.
        alter role realtime_worker_reader set statement_timeout = '4s';
        alter role realtime_worker_reader set default_transaction_isolation = 'read committed';
    end if;
exception
    when insufficient_privilege then
        raise warning 'the role realtime_worker_reader is missing, and % may not create it', current_user
            using hint = 'See "The reader" in docs/postgres.md.';
    when duplicate_object or unique_violation then null;    -- another database of the server is being installed at once
end $$;

-- Gives the reader exactly its rights, whatever was granted before. Nobody else may call anything.
create function realtime_worker.grant_reader() returns void
language plpgsql set search_path = '' as $$
declare
    name text;
begin
    revoke all on all functions in schema realtime_worker from public;
    if not exists (select from pg_catalog.pg_roles where rolname = 'realtime_worker_reader') then return; end if;
    revoke all on all functions in schema realtime_worker from realtime_worker_reader;
    revoke all on all tables in schema realtime_worker from realtime_worker_reader;
    grant usage on schema realtime_worker to realtime_worker_reader;
    for name in
        select p.oid::regprocedure from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
         where n.nspname = 'realtime_worker' and (p.proname like 'judge\_of\_%' or p.proname in (
            -- what the Worker calls
            'register', 'take', 'judge', 'authorize', 'status', 'sync',
            -- what these call as the reader, since a function of the owner could not become another role
            'next_batch', 'batch_changes', 'batch_verdicts', 'verdict_json', 'timeout_json', 'listeners', 'timed_out', 'note_timeout', 'batch_age',
            'backlog', 'epoch', 'change_json', 'is_large', 'shortened', 'iso', 'readable_columns', 'count_failures', 'failed',
            'judge_images', 'judge_tables', 'judge_roles', 'compile', 'reader_path', 'sight_json', 'trial_rows', 'find_table', 'store_interest', 'named_tables', 'wanted',
            'table_json', 'primary_key')
            or p.proname in ('enable_realtime', 'disable_realtime') and (select control_plane from realtime_worker.reader))
    loop
        execute format('grant execute on function %s to realtime_worker_reader', name);
    end loop;
end $$;

-- Lets the Worker enable and disable tables, for clients that configure them over its API. Not by default: whoever has the
-- reader's password could then capture any table of the owner, and the reader is handed every captured row.
create function realtime_worker.allow_control_plane(allowed boolean) returns void
language plpgsql set search_path = '' as $$
begin
    update realtime_worker.reader set control_plane = allowed;
    perform realtime_worker.grant_reader();
end $$;

select realtime_worker.grant_reader();
select realtime_worker.grant_supabase();

insert into realtime_worker.version values (11, 'reader_role');
