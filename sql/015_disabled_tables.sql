-- Version 15: a table that is disabled stays known with its settings, and policies may ask for `app.role`.
select pg_catalog.pg_advisory_xact_lock(7261401);

-- Tables that were captured and no longer are. One that is enabled again is as it was: whoever does so without naming the
-- excluded columns must not make them leave the database.
create table realtime_worker.disabled (
    schema_name         text not null,
    table_name          text not null,
    events              text[] not null,
    exclude             text[] not null,
    organization_column text,
    created_at          timestamptz not null,
    updated_at          timestamptz not null default now(),
    primary key (schema_name, table_name)
);

-- As in version 13, and with the settings that the table had before it was disabled. Of the columns excluded then only those
-- that are still there can be.
create or replace function realtime_worker.capture_table(schema_name text, table_name text, events text[], exclude text[],
    organization_column text, enabled_by text) returns json
language plpgsql set search_path = '' as $$
#variable_conflict use_variable
declare
    rel regclass;
    before realtime_worker.tables;
    disabled realtime_worker.disabled;
    remembered text[];
begin
    perform pg_advisory_xact_lock(7261403);
    select * into before from realtime_worker.tables t where (t.schema_name, t.table_name) = (schema_name, table_name);
    delete from realtime_worker.disabled d where (d.schema_name, d.table_name) = (schema_name, table_name) returning * into disabled;
    select array_agg(c) into remembered from unnest(disabled.exclude) c
     where exists (select from pg_catalog.pg_attribute a
                    where a.attrelid = realtime_worker.find_table(schema_name, table_name) and a.attname = c and not a.attisdropped);
    events := coalesce(events, before.events, disabled.events, array['INSERT', 'UPDATE', 'DELETE']);
    exclude := coalesce(exclude, before.exclude, remembered, '{}');
    organization_column := coalesce(organization_column, before.organization_column, disabled.organization_column);
    rel := realtime_worker.check_table(schema_name, table_name, events, exclude, organization_column);
    perform realtime_worker.create_triggers(rel, events, exclude, organization_column);
    delete from realtime_worker.tables t
     where (t.rel = rel) <> ((t.schema_name, t.table_name) = (schema_name, table_name));
    insert into realtime_worker.tables as t (schema_name, table_name, rel, events, exclude, organization_column, enabled_by, created_at)
    values (schema_name, table_name, rel, events, exclude, organization_column, enabled_by, coalesce(disabled.created_at, now()))
        on conflict on constraint tables_pkey do update set rel = excluded.rel, events = excluded.events, exclude = excluded.exclude,
            organization_column = excluded.organization_column, enabled_by = excluded.enabled_by, updated_at = now();
    return (select s from realtime_worker.table_status(null) s where s ->> 'schema' = schema_name and s ->> 'table' = table_name);
end $$;

-- Stops capturing a table, and remembers how it was captured. One that is not captured, or is gone, is no error.
create or replace function realtime_worker.disable_realtime(schema text, "table" text) returns json
language plpgsql security definer set search_path = '' as $$
declare
    target constant regclass := realtime_worker.find_table(schema, "table"); removed bigint;
begin
    perform pg_advisory_xact_lock(7261403);
    if target is not null then perform realtime_worker.drop_triggers(target); end if;
    with gone as (
        delete from realtime_worker.tables t
         where t.rel = target or (t.schema_name, t.table_name) = (disable_realtime.schema, disable_realtime."table")
        returning *
    ), remembered as (
        insert into realtime_worker.disabled (schema_name, table_name, events, exclude, organization_column, created_at)
        select g.schema_name, g.table_name, g.events, g.exclude, g.organization_column, g.created_at from gone g
            on conflict on constraint disabled_pkey do update set events = excluded.events, exclude = excluded.exclude,
                organization_column = excluded.organization_column, updated_at = now()
    )
    select count(*) into removed from gone;
    return json_build_object('schema', schema, 'table', "table", 'enabled', false, 'changed', removed > 0);
end $$;

-- The disabled tables that still exist, in the form of `table_status`.
create function realtime_worker.disabled_status() returns json
language sql stable set search_path = '' as $$
    select coalesce(json_agg(json_build_object('schema', d.schema_name, 'table', d.table_name, 'events', d.events,
        'exclude', d.exclude, 'excluded', d.exclude, 'organization_column', d.organization_column, 'enabled', false,
        'trigger_installed', false, 'drift', false, 'created_at', realtime_worker.iso(d.created_at),
        'updated_at', realtime_worker.iso(d.updated_at)) order by d.schema_name, d.table_name), '[]')
      from realtime_worker.disabled d where realtime_worker.find_table(d.schema_name, d.table_name) is not null
$$;

-- As in version 7, with the tables that are disabled.
create or replace function realtime_worker.status() returns json
language sql stable security definer set search_path = '' as $$
    select json_build_object(
        'version', (select max(number) from realtime_worker.version),
        'capture', case when r.capture_until > now() then 'active' else 'stopped' end,
        'capture_until', realtime_worker.iso(r.capture_until), 'system', realtime_worker.epoch(),
        'backlog', realtime_worker.backlog(),
        'reader_lease', case when isfinite(r.awake_until) then realtime_worker.iso(r.awake_until) end,
        'groups', (select count(*) from realtime_worker.groups),
        'tables', (select coalesce(json_agg(s), '[]') from realtime_worker.table_status(null) s),
        'disabled', realtime_worker.disabled_status(),
        'warnings', array_remove(array[
            case when r.capture_until <= now() then 'capture_stopped' end,
            case when not exists (select from pg_catalog.pg_roles where rolname = 'realtime_worker_reader') then 'reader_role_missing' end,
            case when current_setting('statement_timeout') = '0' then 'no_statement_timeout' end], null))
      from realtime_worker.reader r
$$;

-- As in version 3, and policies may ask for the role as `app.role`, which those of Butterbase's apps do.
create or replace function realtime_worker.judge_images(rel regclass, role_name text, command "char", images json[], claims text[],
    topic text, out sees text[], out codes text[], out canceled int, out seconds float8)
language plpgsql set search_path = '' as $$
begin
    perform set_config('app.role', role_name, true);
    execute format('select * from realtime_worker.%I($1, $2, $3, $4)',
                              realtime_worker.compile(rel, role_name, command))
       into sees, codes, canceled, seconds using images, claims, topic, realtime_worker.reader_path();
exception
    when query_canceled then
        canceled := 0;                           -- outside of any caller
    when lock_not_available then
        canceled := -1;
    when assert_failure or others then
        sees := array_fill(repeat('0', cardinality(images)), array[cardinality(claims)]);
        codes := array_fill(sqlstate::text, array[cardinality(claims)]);
end $$;

select realtime_worker.grant_reader();

insert into realtime_worker.version values (15, 'disabled_tables');
