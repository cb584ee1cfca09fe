-- Version 7: enabling tables, following a publication, and saying how things are.
select pg_advisory_xact_lock(7261401);

-- `<table>_notify_change` and so on. A name that would not fit into 63 bytes is shortened before the suffix, which
-- tools look for, and told apart by a digest.
create function realtime_worker.trigger_name(table_name text, suffix text) returns text
language plpgsql immutable set search_path = '' as $$
declare
    short text := table_name; tail text := suffix;
begin
    if octet_length(table_name || suffix) > 63 then
        tail := '_' || left(md5(table_name), 8) || suffix;
    end if;
    while octet_length(short || tail) > 63 loop
        short := left(short, -1);
    end loop;
    return short || tail;
end $$;

create function realtime_worker.drop_triggers(rel regclass) returns void
language plpgsql set search_path = '' as $$
declare
    name text;
begin
    for name in
        select t.tgname from pg_catalog.pg_trigger t
         where t.tgrelid = rel and t.tgparentid = 0
           and t.tgfoid in ('realtime_worker.capture'::regproc, 'realtime_worker.knock'::regproc)
    loop
        execute format('drop trigger %I on %s', name, rel);
    end loop;
end $$;

create function realtime_worker.create_triggers(rel regclass, events text[], exclude text[], organization_column text)
returns void
language plpgsql set search_path = '' as $$
declare
    c pg_catalog.pg_class; arguments text; row_events text := lower(array_to_string(events, ' or '));
begin
    select * into c from pg_catalog.pg_class where oid = rel;
    select string_agg(quote_literal(a), ', ' order by n) into arguments
      from unnest(case when c.relkind = 'p' then 'root' else 'self' end
           || case when organization_column is null and exclude = '{}' then array[]::text[]
                   else coalesce(organization_column, '') || exclude end) with ordinality x (a, n);
    perform realtime_worker.drop_triggers(rel);
    execute format('create trigger %I after %s on %s for each row execute function realtime_worker.capture(%s)',
                              realtime_worker.trigger_name(c.relname, '_notify_change'), row_events, rel, arguments);
    if 'DELETE' = any (events) then
        execute format('create trigger %I after truncate on %s for each statement execute function realtime_worker.capture(%s)',
                                  realtime_worker.trigger_name(c.relname, '_notify_truncate'), rel, arguments);
        row_events := row_events || ' or truncate';
    end if;
    execute format('create trigger %I after %s on %s for each statement execute function realtime_worker.knock()',
                              realtime_worker.trigger_name(c.relname, '_notify_knock'), row_events, rel);
end $$;

-- What is wrong with a request to enable a table, as an error that says what to do.
create function realtime_worker.check_table(schema_name text, table_name text, events text[], exclude text[],
    organization_column text) returns regclass
language plpgsql stable set search_path = '' as $$
declare
    rel constant regclass := realtime_worker.find_table(schema_name, table_name); unknown text;
begin
    if rel is null then
        raise exception 'there is no table %.%', quote_ident(schema_name), quote_ident(table_name)
            using errcode = '42P01', hint = 'Only tables can be captured. Names are as the catalog has them, without quotes.';
    end if;
    if exists (select from pg_catalog.pg_class where oid = rel and relkind = 'p' and relispartition) then
        raise exception '% is a partition that is partitioned itself', rel using errcode = '0A000', hint = 'Enable the root of the tree.';
    end if;
    if schema_name = 'realtime_worker' then
        raise exception 'a table of realtime_worker cannot be captured' using errcode = '22023';
    end if;
    if events = '{}' or not events <@ array['INSERT', 'UPDATE', 'DELETE'] then
        raise exception 'events are INSERT, UPDATE and DELETE, not %', events using errcode = '22023';
    end if;
    select c into unknown from unnest(exclude || organization_column) c
     where c is not null and not exists (select from pg_catalog.pg_attribute a
                                          where a.attrelid = rel and a.attname = c and a.attnum > 0 and not a.attisdropped) limit 1;
    if unknown is not null then
        raise exception '% has no column %', rel, quote_ident(unknown) using errcode = '42703';
    end if;
    return rel;
end $$;

-- What whoever enables a table should know.
create function realtime_worker.warnings(rel regclass, exclude text[]) returns text[]
language sql stable set search_path = '' as $$
    select array_remove(array[
        case when not c.relrowsecurity then 'no_row_security' end,
        case when realtime_worker.primary_key(c.oid) = '{}' then 'no_primary_key' end,
        case when c.relrowsecurity and not exists (select from pg_catalog.pg_policy p where p.polrelid = c.oid and p.polcmd in ('r', '*'))
             then 'no_policy' end,
        case when d.named && exclude or (exclude <> '{}' and d.whole_row) then 'policy_names_excluded_column' end,
        case when d.named && realtime_worker.unreadable_columns(c.oid) or (d.whole_row and realtime_worker.unreadable_columns(c.oid) <> '{}')
             then 'policy_names_unreadable_column' end], null)
      from pg_catalog.pg_class c, lateral (
        select coalesce(array_agg(a.attname::text), '{}') as named,
               exists (select from pg_catalog.pg_policy p where p.polrelid = c.oid and realtime_worker.names_row(p.polqual::text)) as whole_row
          from pg_catalog.pg_policy p
          join pg_catalog.pg_depend e on e.classid = 'pg_catalog.pg_policy'::regclass and e.objid = p.oid
               and e.refclassid = 'pg_catalog.pg_class'::regclass and e.refobjid = c.oid
          join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = e.refobjsubid and a.attnum > 0
         where p.polrelid = c.oid and p.polcmd in ('r', '*')) d
     where c.oid = warnings.rel
$$;

create function realtime_worker.capture_table(schema_name text, table_name text, events text[], exclude text[],
    organization_column text, enabled_by text) returns json
language plpgsql set search_path = '' as $$
#variable_conflict use_variable
declare
    rel regclass; 
begin
    perform pg_advisory_xact_lock(7261403);
    events := coalesce(events, array['INSERT', 'UPDATE', 'DELETE']); exclude := coalesce(exclude, '{}');
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

-- Captures a table from the next transaction on. Called again, it replaces the settings and repairs the triggers.
create function realtime_worker.enable_realtime(schema text, "table" text, events text[] default array['INSERT', 'UPDATE', 'DELETE'],
    exclude text[] default '{}', organization_column text default null) returns json
language sql security definer set search_path = '' as $$
    select realtime_worker.capture_table(schema, "table", events, exclude, organization_column, 'call')
$$;

-- Stops capturing a table. One that is not captured, or is gone, is no error.
create function realtime_worker.disable_realtime(schema text, "table" text) returns json
language plpgsql security definer set search_path = '' as $$
declare
    target constant regclass := realtime_worker.find_table(schema, "table"); removed int;
begin
    perform pg_advisory_xact_lock(7261403);
    if target is not null then perform realtime_worker.drop_triggers(target); end if;
    delete from realtime_worker.tables t
     where t.rel = target or (t.schema_name, t.table_name) = (disable_realtime.schema, disable_realtime."table");
    get diagnostics removed = row_count;
    return json_build_object('schema', schema, 'table', "table", 'enabled', false, 'changed', removed > 0);
end $$;

-- Each entry of `tables` and how it stands; `drift`: it should be captured and is not, or not as it says.
create function realtime_worker.table_status(only_rel regclass) returns setof json
language sql stable set search_path = '' as $$
    select json_build_object('schema', t.schema_name, 'table', t.table_name, 'events', t.events, 'exclude', t.exclude,
        'excluded', t.exclude, 'organization_column', t.organization_column, 'enabled', true, 'enabled_by', t.enabled_by,
        'trigger_installed', v.installed, 'drift', not v.installed or v.rel <> t.rel or v.renamed,
        'row_security', coalesce(c.relrowsecurity, false), 'primary_key', realtime_worker.primary_key(v.rel),
        'policies', (select count(*) from pg_catalog.pg_policy p where p.polrelid = v.rel and p.polcmd in ('r', '*')),
        'failures', (select coalesce(json_agg(json_build_object('role', f.role, 'code', f.code, 'count', f.count,
                        'last_at', realtime_worker.iso(f.last_at)) order by f.role, f.code), '[]')
                       from realtime_worker.failures f where f.rel = v.rel),
        'created_at', realtime_worker.iso(t.created_at), 'updated_at', realtime_worker.iso(t.updated_at),
        'warnings', case when c.oid is null then array['table_missing'] else realtime_worker.warnings(v.rel, t.exclude) end)
      from realtime_worker.tables t
      cross join lateral (select coalesce(realtime_worker.find_table(t.schema_name, t.table_name), t.rel) as rel) named
      left join pg_catalog.pg_class c on c.oid = named.rel
      cross join lateral (select named.rel, coalesce(realtime_worker.is_captured(named.rel), false) as installed,
                                 c.oid is not null and c.relname <> t.table_name as renamed) v
     where only_rel is null or t.rel = only_rel
     order by t.schema_name, t.table_name
$$;

-- How capture stands. `stopped`: no reader has come for a day, so nothing is captured until one does.
create function realtime_worker.status() returns json
language sql stable security definer set search_path = '' as $$
    select json_build_object(
        'version', (select max(number) from realtime_worker.version),
        'capture', case when r.capture_until > now() then 'active' else 'stopped' end,
        'capture_until', realtime_worker.iso(r.capture_until), 'system', realtime_worker.epoch(),
        'backlog', realtime_worker.backlog(),
        'reader_lease', case when isfinite(r.awake_until) then realtime_worker.iso(r.awake_until) end,
        'groups', (select count(*) from realtime_worker.groups),
        'tables', (select coalesce(json_agg(s), '[]') from realtime_worker.table_status(null) s),
        'warnings', array_remove(array[
            case when r.capture_until <= now() then 'capture_stopped' end,
            case when not exists (select from pg_catalog.pg_roles where rolname = 'realtime_worker_reader') then 'reader_role_missing' end,
            case when current_setting('statement_timeout') = '0' then 'no_statement_timeout' end], null))
      from realtime_worker.reader r
$$;

insert into realtime_worker.version values (7, 'tables');
