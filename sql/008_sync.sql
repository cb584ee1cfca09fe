-- Version 8: following the publication `supabase_realtime`, and repairing what drifted.
select pg_catalog.pg_advisory_xact_lock(7261401);

-- The tables of the publication as they are to be captured. A partition goes by its root, a column list excludes the other
-- columns. A row filter has no counterpart here, and without it more people would see more.
create function realtime_worker.published_tables()
returns table (rel regclass, schema_name text, table_name text, events text[], exclude text[], reason text)
language sql stable set search_path = '' as $$
    select distinct on (1) r.rel, n.nspname::text, c.relname::text,
           array_remove(array[case when p.pubinsert then 'INSERT' end, case when p.pubupdate then 'UPDATE' end,
                              case when p.pubdelete then 'DELETE' end], null),
           array(select a.attname::text from pg_catalog.pg_attribute a
                  where a.attrelid = r.rel and a.attnum > 0 and not a.attisdropped and a.attname <> all (t.attnames)
                  order by a.attnum),
           case when t.rowfilter is not null then 'row_filter'
                when not (p.pubinsert or p.pubupdate or p.pubdelete) then 'no_events' end
      from pg_catalog.pg_publication p
      join pg_catalog.pg_publication_tables t on t.pubname = p.pubname
      cross join lateral (select realtime_worker.find_table(t.schemaname, t.tablename) as rel) named
      cross join lateral (select coalesce(pg_partition_root(named.rel), named.rel) as rel) r
      join pg_catalog.pg_class c on c.oid = r.rel
      join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where p.pubname = 'supabase_realtime' and n.nspname not in ('realtime_worker', 'realtime')
     order by 1
$$;

-- Entries that do not stand as they say, with the name that their table has now.
create function realtime_worker.drifted_tables()
returns table (schema_name text, table_name text, events text[], exclude text[], organization_column text, enabled_by text)
language sql stable set search_path = '' as $$
    select coalesce(n.nspname, t.schema_name), coalesce(c.relname, t.table_name), t.events, t.exclude, t.organization_column, t.enabled_by
      from realtime_worker.tables t
      cross join lateral (select coalesce(realtime_worker.find_table(t.schema_name, t.table_name), t.rel) as rel) named
      join pg_catalog.pg_class c on c.oid = named.rel
      join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where not realtime_worker.is_captured(c.oid) or named.rel <> t.rel or (n.nspname, c.relname) <> (t.schema_name, t.table_name)
     order by 1, 2
$$;

-- Forgets what belonged to tables that are gone.
create function realtime_worker.forget_dropped_tables() returns void
language plpgsql set search_path = '' as $$
declare
    judge text;
begin
    for judge in
        select p.oid::regprocedure
          from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
         where n.nspname = 'realtime_worker' and p.proname like 'judge\_of\_%'
           and not exists (select from pg_catalog.pg_class c where c.oid::text = split_part(p.proname, '_', 3))
    loop
        execute format('drop function %s', judge);
    end loop;
    delete from realtime_worker.judges j where not exists (select from pg_catalog.pg_class where oid = j.rel);
    delete from realtime_worker.failures f where not exists (select from pg_catalog.pg_class where oid = f.rel);
end $$;

-- What captures one table and says how that went; a table that may not be captured stops nothing else.
create function realtime_worker.try_capture(schema_name text, table_name text, events text[], exclude text[],
    organization_column text, enabled_by text, action text) returns json
language plpgsql set search_path = '' as $$
begin
    perform realtime_worker.capture_table(schema_name, table_name, events, exclude, organization_column, enabled_by);
    return json_build_object('schema', schema_name, 'table', table_name, 'action', action);
exception when others then
    return json_build_object('schema', schema_name, 'table', table_name, 'action', 'skipped', 'reason', sqlstate);
end $$;

-- Repairs drift and follows the publication. Returns what it did. A table that was enabled by a call is left to its caller.
create function realtime_worker.sync() returns json
language plpgsql security definer set search_path = '' set jit = off as $$
declare
    t record; done json[] := '{}'; followed boolean := exists (select from pg_catalog.pg_publication where pubname = 'supabase_realtime');
begin
    perform pg_advisory_xact_lock(7261403);
    for t in select * from realtime_worker.drifted_tables() loop
        done := done || realtime_worker.try_capture(t.schema_name, t.table_name, t.events, t.exclude, t.organization_column, t.enabled_by, 'repaired');
    end loop;
    for t in select * from realtime_worker.published_tables() p
              where not exists (select from realtime_worker.tables e
                                 where e.rel = p.rel and (e.enabled_by = 'call' or (e.events, e.exclude) = (p.events, p.exclude) and p.reason is null))
    loop
        done := done || case when t.reason is not null
            then json_build_object('schema', t.schema_name, 'table', t.table_name, 'action', 'skipped', 'reason', t.reason)
            else realtime_worker.try_capture(t.schema_name, t.table_name, t.events, t.exclude, null, 'publication', 'enabled') end;
    end loop;
    for t in select e.schema_name, e.table_name from realtime_worker.tables e
              where e.enabled_by = 'publication'
                and not exists (select from realtime_worker.published_tables() p where p.rel = e.rel and p.reason is null)
    loop
        perform realtime_worker.disable_realtime(t.schema_name, t.table_name);
        done := done || json_build_object('schema', t.schema_name, 'table', t.table_name, 'action', 'disabled');
    end loop;
    perform realtime_worker.forget_dropped_tables();
    return json_build_object('publication', followed, 'tables', done);
end $$;

insert into realtime_worker.version values (8, 'sync');
