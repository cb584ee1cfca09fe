-- Version 13: a setting that is not given when a table is enabled again stays as it was. Whoever enables a table without naming
-- the excluded columns, as a control plane does, must not make them leave the database.
select pg_catalog.pg_advisory_xact_lock(7261401);

create or replace function realtime_worker.capture_table(schema_name text, table_name text, events text[], exclude text[],
    organization_column text, enabled_by text) returns json
language plpgsql set search_path = '' as $$
#variable_conflict use_variable
declare
    rel regclass;
    before realtime_worker.tables;
begin
    perform pg_advisory_xact_lock(7261403);
    select * into before from realtime_worker.tables t where (t.schema_name, t.table_name) = (schema_name, table_name);
    events := coalesce(events, before.events, array['INSERT', 'UPDATE', 'DELETE']);
    exclude := coalesce(exclude, before.exclude, '{}');
    organization_column := coalesce(organization_column, before.organization_column);
    rel := realtime_worker.check_table(schema_name, table_name, events, exclude, organization_column);
    perform realtime_worker.create_triggers(rel, events, exclude, organization_column);
    delete from realtime_worker.tables t
     where (t.rel = rel) <> ((t.schema_name, t.table_name) = (schema_name, table_name));
    insert into realtime_worker.tables as t (schema_name, table_name, rel, events, exclude, organization_column, enabled_by)
    values (schema_name, table_name, rel, events, exclude, organization_column, enabled_by)
        on conflict on constraint tables_pkey do update set rel = excluded.rel, events = excluded.events, exclude = excluded.exclude,
            organization_column = excluded.organization_column, enabled_by = excluded.enabled_by, updated_at = now();
    return (select s from realtime_worker.table_status(null) s where s ->> 'schema' = schema_name and s ->> 'table' = table_name);
end $$;

-- Captures a table from the next transaction on. Called again, it changes the settings that are given and repairs the triggers.
create or replace function realtime_worker.enable_realtime(schema text, "table" text, events text[] default null,
    exclude text[] default null, organization_column text default null) returns json
language sql security definer set search_path = '' as $$
    select realtime_worker.capture_table(schema, "table", events, exclude, organization_column, 'call')
$$;

insert into realtime_worker.version values (13, 'settings_kept');
