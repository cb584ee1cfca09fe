-- Version 5: what the reader calls. Each is one statement without session state, so that it works through a pool.
select pg_advisory_xact_lock(7261401);

-- Stores who listens in an organization, if `revision` is not older than what is stored.
create function realtime_worker.store_interest(p json) returns void
language plpgsql security definer set search_path = '' as $$
declare
    org constant text := p ->> 'organization';
begin
    if org is null or exists (select from json_array_elements(p -> 'groups') e where e ->> 'id' is null or e ->> 'role' is null) then
        raise exception 'register: an organization, and groups with `id` and `role`' using errcode = '22023';
    end if;
    insert into realtime_worker.organizations values (org, (p ->> 'revision')::bigint)
        on conflict (organization) do update set revision = excluded.revision
        where organizations.revision <= excluded.revision;
    if not found then return; end if;
    delete from realtime_worker.groups g
     where g.organization = org and g.id not in (select e ->> 'id' from json_array_elements(p -> 'groups') e);
    insert into realtime_worker.groups
    select distinct on (e ->> 'id') org, e ->> 'id', e ->> 'role', coalesce(e ->> 'claims', '{}')
      from json_array_elements(p -> 'groups') e
    on conflict (organization, id) do update set role = excluded.role, claims = excluded.claims
     where (groups.role, groups.claims) is distinct from (excluded.role, excluded.claims);
    delete from realtime_worker.interest i
     where i.organization = org
       and (i.group_id, i.schema_name, i.table_name) not in (select * from realtime_worker.wanted(p));
    insert into realtime_worker.interest
    select distinct org, w.group_id, w.schema_name, w.table_name from realtime_worker.wanted(p) w on conflict do nothing;
end $$;

-- The (group, table) pairs of a registration; '*' is every table.
create function realtime_worker.wanted(p json) returns table (group_id text, schema_name text, table_name text)
language sql immutable set search_path = '' as $$
    select e ->> 'id', t ->> 0, t ->> 1
      from json_array_elements(p -> 'groups') e, json_array_elements(e -> 'tables') t
$$;

-- Whether the triggers of a table are there, fire, and fire on the events that it is enabled for.
create function realtime_worker.is_captured(rel regclass) returns boolean
language sql stable set search_path = '' as $$
    select exists (select from pg_catalog.pg_trigger t
                    where t.tgrelid = is_captured.rel and t.tgenabled in ('O', 'A')
                      and t.tgfoid = 'realtime_worker.capture'::regproc
                      and t.tgtype::int & 29 = 1                       -- for each row
                          + case when 'INSERT' = any (e.events) then 4 else 0 end
                          + case when 'DELETE' = any (e.events) then 8 else 0 end
                          + case when 'UPDATE' = any (e.events) then 16 else 0 end)
       and exists (select from pg_catalog.pg_trigger t
                    where t.tgrelid = is_captured.rel and t.tgenabled in ('O', 'A')
                      and t.tgfoid = 'realtime_worker.knock'::regproc)
      from (select (select events from realtime_worker.tables k where k.rel = is_captured.rel)) e (events)
$$;

-- A table by its name, without an error when there is none.
create function realtime_worker.find_table(schema_name text, table_name text) returns regclass
language sql stable set search_path = '' as $$
    select c.oid::regclass from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where n.nspname = schema_name and c.relname = table_name and c.relkind in ('r', 'p')
$$;

-- What a role may have of a table: `playable`, whether the reader may become that role.
create function realtime_worker.role_json(rel regclass, role_name text, playable boolean) returns json
language sql stable set search_path = '' as $$
    select json_strip_nulls(json_build_object(
        'state', case when playable then p.state else 'denied' end,
        'columns', case when playable and p.state <> 'denied' then realtime_worker.columns(rel, role_name) else '{}' end,
        'reason', case when not exists (select from pg_catalog.pg_roles where rolname = role_name) then 'role_missing'
                       when not playable then 'role_not_granted' end))
      from realtime_worker.policy(rel, role_name, 'r') p
$$;

create function realtime_worker.table_json(schema_name text, table_name text, roles text[], playable boolean[]) returns json
language plpgsql stable security definer set search_path = '' as $$
declare
    rel constant regclass := realtime_worker.find_table(schema_name, table_name);
begin
    if rel is null then
        return json_build_object('schema', schema_name, 'table', table_name, 'enabled', false, 'unknown', true);
    end if;
    return (select json_build_object('schema', schema_name, 'table', table_name,
            'enabled', exists (select from realtime_worker.tables t where t.rel = c.oid) and realtime_worker.is_captured(c.oid),
            'row_security', c.relrowsecurity,
            'columns', (select coalesce(json_agg(json_build_object('name', a.attname, 'type', ty.typname) order by a.attnum), '[]')
                          from pg_catalog.pg_attribute a join pg_catalog.pg_type ty on ty.oid = a.atttypid
                         where a.attrelid = c.oid and a.attname = any (realtime_worker.columns(c.oid, null))),
            'primary_key', realtime_worker.primary_key(c.oid),
            'replica_identity', case c.relreplident when 'd' then 'default' when 'f' then 'full' when 'n' then 'nothing' else 'index' end,
            'roles', (select coalesce(json_object_agg(r.role, realtime_worker.role_json(c.oid, r.role, r.playable)), '{}')
                        from unnest(roles, playable) r (role, playable)))
       from pg_catalog.pg_class c where c.oid = rel);
end $$;

-- The tables that a registration names, and those that its wildcards cover.
create function realtime_worker.named_tables(p json) returns table (schema_name text, table_name text)
language sql stable security definer set search_path = '' as $$
    select w.schema_name, w.table_name from realtime_worker.wanted(p) w where '*' not in (w.schema_name, w.table_name)
    union
    select n.nspname, c.relname
      from realtime_worker.tables t join pg_catalog.pg_class c on c.oid = t.rel
      join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where exists (select from realtime_worker.wanted(p) w
                    where w.table_name = '*' and w.schema_name in ('*', n.nspname))
    order by 1, 2
$$;

-- Replaces who listens in an organization, and says of each table what they may have of it.
create function realtime_worker.register(p json) returns json
language plpgsql set search_path = '' set jit = off as $$
declare
    roles text[]; playable boolean[];
begin
    perform realtime_worker.store_interest(p);
    select array_agg(r.role), array_agg(coalesce(pg_has_role(o.oid, 'MEMBER'), false))
      into roles, playable
      from (select distinct e ->> 'role' as role from json_array_elements(p -> 'groups') e) r
      left join pg_catalog.pg_roles o on o.rolname = r.role
     where r.role is not null;
    return json_build_object('revision', (p ->> 'revision')::bigint, 'tables', (
        select coalesce(json_agg(realtime_worker.table_json(t.schema_name, t.table_name, roles, playable)), '[]')
          from realtime_worker.named_tables(p) t));
end $$;

-- The groups that listen to a table, without those that timed out in this batch. The same id is the same role and claims.
create function realtime_worker.listeners(batch bigint, schema_name text, table_name text, rel regclass)
returns table (role text, ids text[], claims text[])
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select g.role, array_agg(g.id order by g.id), array_agg(g.claims order by g.id)
      from (select distinct on (g.id) g.id, g.role, g.claims
              from realtime_worker.interest i join realtime_worker.groups g on (g.organization, g.id) = (i.organization, i.group_id)
             where i.schema_name in ('*', listeners.schema_name) and i.table_name in ('*', listeners.table_name)
             order by g.id, g.organization) g
     where not exists (select from realtime_worker.timeouts t
                        where t.batch = listeners.batch and t.rel = listeners.rel and t.role = g.role
                          and (t.group_id is null or t.group_id = g.id))
     group by g.role order by g.role;
end $$;

create function realtime_worker.timed_out(batch bigint, schema_name text, table_name text, rel regclass)
returns table (role text, ids text[])
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
    return query
    select g.role, array_agg(distinct g.id)
      from realtime_worker.interest i join realtime_worker.groups g on (g.organization, g.id) = (i.organization, i.group_id)
      join realtime_worker.timeouts t on t.role = g.role and (t.group_id is null or t.group_id = g.id)
     where i.schema_name in ('*', timed_out.schema_name) and i.table_name in ('*', timed_out.table_name)
       and t.batch = timed_out.batch and t.rel = timed_out.rel
     group by g.role;
end $$;

-- Denies a group for the rest of this batch, or the whole role when another of its groups was denied before.
create function realtime_worker.note_timeout(batch bigint, rel regclass, role_name text, group_id text) returns void
language sql security definer set search_path = '' as $$
    insert into realtime_worker.timeouts
    select batch, rel, role_name,
           case when not exists (select from realtime_worker.timeouts t
                                  where (t.batch, t.rel, t.role) = (note_timeout.batch, note_timeout.rel, role_name))
                then note_timeout.group_id end
    on conflict do nothing
$$;

create function realtime_worker.backlog() returns bigint
language plpgsql stable security definer set search_path = '' as $$
begin
    return (select count(*) from (select from realtime_worker.changes limit 100000) c);
end $$;

-- The columns that a verdict may narrow a row to, as they were when the judge was made or found to be of now.
create function realtime_worker.readable_columns(rel regclass, role_name text) returns text[]
language plpgsql stable security definer set search_path = '' as $$
begin
    return coalesce((select j.columns from realtime_worker.judges j
                      where j.rel = readable_columns.rel and j.role = role_name and j.command = 'r'), '{}');
end $$;

create function realtime_worker.batch_age(batch bigint) returns interval
language sql stable security definer set search_path = '' as $$
    select clock_timestamp() - b.fixed_at from realtime_worker.batches b where b.id = batch
$$;

-- One table of a batch for one role. NULL: a table of a policy is locked (which is waited for half a minute), or it ran into
-- the statement timeout, which is noted.
create function realtime_worker.verdict_json(batch bigint, rel regclass, schema_name text, table_name text, places int[],
    news json[], olds json[], role_name text, ids text[], claims text[]) returns json
language plpgsql set search_path = '' as $$
declare
    began constant timestamptz := statement_timestamp();
    images constant json[] := news || olds;
    count constant int := cardinality(news);
    j record;
begin
    j := realtime_worker.judge_images(rel, role_name, 'r', images, claims, '');
    if j.canceled = -1 and realtime_worker.batch_age(batch) < interval '30 s' then
        return null;
    elsif j.canceled is not null then
        -- One that took at least half of the time is the reason; otherwise all of this role together are.
        perform realtime_worker.note_timeout(batch, rel, role_name, case
            when j.canceled > 0 and 2 * j.seconds >= extract(epoch from clock_timestamp() - began) then ids[j.canceled] end);
        return null;
    end if;
    if exists (select from unnest(j.codes) c where c is not null) then
        perform realtime_worker.count_failures(rel, role_name, j.codes);
    end if;
    return json_build_object('schema', schema_name, 'table', table_name, 'role', role_name,
        'columns', realtime_worker.readable_columns(rel, role_name), 'changes', places, 'groups', ids,
        'new', array(select left(s, count) from unnest(j.sees) s),
        'old', array(select right(s, count) from unnest(j.sees) s),
        'failed', realtime_worker.failed(ids, j.codes));
end $$;

-- The verdict of groups that timed out before: nothing is visible.
create function realtime_worker.timeout_json(rel regclass, schema_name text, table_name text, places int[], role_name text,
    ids text[]) returns json
language plpgsql set search_path = '' as $$
declare
    nothing constant text[] := array_fill(repeat('0', cardinality(places)), array[cardinality(ids)]);
    codes constant text[] := array_fill('57014'::text, array[cardinality(ids)]);
begin
    perform realtime_worker.count_failures(rel, role_name, codes);
    return json_build_object('schema', schema_name, 'table', table_name, 'role', role_name, 'columns', array[]::text[],
        'changes', places, 'groups', ids, 'new', nothing, 'old', nothing, 'failed', realtime_worker.failed(ids, codes));
end $$;

-- The verdicts of a batch; NULL when a timeout came in between.
create function realtime_worker.batch_verdicts(batch bigint) returns json[]
language plpgsql set search_path = '' set lock_timeout = '1s' as $$
declare
    t record; l record; verdict json; verdicts json[] := '{}';
begin
    for t in
        select c.rel, c.schema_name, c.table_name, array_agg(c.place order by c.place) as places,
               array_agg(c.new order by c.place) as news, array_agg(c.old order by c.place) as olds
          from realtime_worker.batch_changes(batch) c
         where c.operation in ('INSERT', 'UPDATE', 'DELETE')
           and exists (select from pg_catalog.pg_class where oid = c.rel)
         group by c.rel, c.schema_name, c.table_name order by 1
    loop
        for l in select * from realtime_worker.listeners(batch, t.schema_name, t.table_name, t.rel) loop
            verdict := realtime_worker.verdict_json(batch, t.rel, t.schema_name, t.table_name, t.places, t.news, t.olds, l.role, l.ids, l.claims);
            if verdict is null then return null; end if;
            verdicts := verdicts || verdict;
        end loop;
        for l in select * from realtime_worker.timed_out(batch, t.schema_name, t.table_name, t.rel) loop
            verdicts := verdicts || realtime_worker.timeout_json(t.rel, t.schema_name, t.table_name, t.places, l.role, l.ids);
        end loop;
    end loop;
    return verdicts;
end $$;

-- One round trip: batch `done` is deleted, the next one is fixed or read again, and judged. Compiling a plan to machine code
-- takes longer than all of this.
create function realtime_worker.take(done bigint, max_changes int) returns json
language plpgsql set search_path = '' set jit = off as $$
declare
    b record := realtime_worker.next_batch(done, max_changes); verdicts json[]; changes json;
begin
    if b.batch is null then
        return json_build_object('batch', null, 'next', b.next, 'backlog', realtime_worker.backlog());
    end if;
    verdicts := realtime_worker.batch_verdicts(b.batch);
    if verdicts is null then
        return json_build_object('batch', null, 'next', 'poll', 'backlog', realtime_worker.backlog());
    end if;
    select coalesce(json_agg(realtime_worker.change_json(c.schema_name, c.table_name, c.operation, c.at, c.organization,
               c.old_organization, c.new, c.old, c.bytes > 1048576 and coalesce(realtime_worker.is_large(c.new, c.old), false),
               case when c.bytes > 1048576 then realtime_worker.primary_key(c.rel) end) order by c.place), '[]')
      into changes from realtime_worker.batch_changes(b.batch) c;
    return json_build_object('batch', b.batch, 'system', realtime_worker.epoch(), 'changes', changes, 'verdicts', verdicts);
end $$;

insert into realtime_worker.version values (5, 'reader');
