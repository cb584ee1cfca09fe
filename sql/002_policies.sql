-- Version 2: what a role may see of a table, read from the catalog.
select pg_advisory_xact_lock(7261401);

-- The policies of a command ('r' SELECT, 'a' INSERT) that bind a role, with the expression that PostgreSQL would apply.
create function realtime_worker.policies_for(rel regclass, role_name text, command "char")
returns table (id oid, name name, permissive boolean, expression text, tree text)
language sql stable set search_path = '' as $$
    select p.oid, p.polname, p.polpermissive, '(' || pg_get_expr(e.tree, p.polrelid) || ')', e.tree::text
      from pg_catalog.pg_policy p,
           lateral (select case when command = 'a' then coalesce(p.polwithcheck, p.polqual) else p.polqual end) e (tree)
     where p.polrelid = policies_for.rel and p.polcmd in (command, '*') and e.tree is not null
       and exists (select from unnest(p.polroles) r (role)
                    where r.role = 0 or pg_has_role(role_name, r.role, 'USAGE'))
$$;

-- Whether row security does not apply to a role: none on the table, or a role that is above it.
create function realtime_worker.bypasses(rel regclass, role_name text) returns boolean
language sql stable set search_path = '' as $$
    select not c.relrowsecurity or r.rolsuper or r.rolbypassrls
           or (not c.relforcerowsecurity and pg_has_role(r.oid, c.relowner, 'USAGE'))
      from pg_catalog.pg_class c, pg_catalog.pg_roles r
     where c.oid = bypasses.rel and r.rolname = role_name
$$;

create function realtime_worker.is_granted(rel regclass, role_name text, command "char") returns boolean
language sql stable set search_path = '' as $$
    select has_schema_privilege(role_name, c.relnamespace, 'USAGE')
           and (has_table_privilege(role_name, c.oid, v.privilege)
                or has_any_column_privilege(role_name, c.oid, v.privilege))
      from pg_catalog.pg_class c, (select case command when 'a' then 'INSERT' else 'SELECT' end) v (privilege)
     where c.oid = is_granted.rel
$$;

-- The columns of a table: what a role may read of it (`role_name` NULL: all), without those that are never captured.
create function realtime_worker.columns(rel regclass, role_name text) returns text[]
language sql stable set search_path = '' as $$
    select coalesce(array_agg(a.attname::text order by a.attnum), '{}')
      from pg_catalog.pg_attribute a
     where a.attrelid = columns.rel and a.attnum > 0 and not a.attisdropped
       and (role_name is null or has_column_privilege(role_name, a.attrelid, a.attnum, 'SELECT'))
       and not exists (select from realtime_worker.tables t where t.rel = columns.rel and a.attname = any (t.exclude))
$$;

create function realtime_worker.primary_key(rel regclass) returns text[]
language sql stable set search_path = '' as $$
    select coalesce(array_agg(a.attname::text order by k.place), '{}')
      from pg_catalog.pg_index i, unnest(i.indkey) with ordinality k (attnum, place), pg_catalog.pg_attribute a
     where i.indrelid = primary_key.rel and i.indisprimary and a.attrelid = i.indrelid and a.attnum = k.attnum
$$;

-- Whether an expression names the row as a whole or a system column. It may also say so of a row of a subquery, which
-- costs time and never correctness.
create function realtime_worker.names_row(tree text) returns boolean
language sql immutable set search_path = '' as $$
    select tree ~ ':varno 1 :varattno (0|-)'
$$;

-- What decides whether a role sees a row. `state`: 'live'; 'denied', no privilege; 'no_policy', nothing lets it see a row.
-- `expression` NULL: every row. `needed`: the columns that must be in an image for it to be judged.
create function realtime_worker.policy(rel regclass, role_name text, command "char",
    out state text, out expression text, out needed text[], out whole_row boolean)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_variable
declare
    permissive text; restrictive text;
begin
    needed := '{}'; whole_row := false; state := 'live';
    -- Asked in two steps: the privilege functions raise an error for a role that does not exist.
    if not exists (select from pg_catalog.pg_roles where rolname = role_name)
       or not realtime_worker.is_granted(rel, role_name, command) then
        state := 'denied'; expression := 'false'; return;
    end if;
    if realtime_worker.bypasses(rel, role_name) then return; end if;
    -- In the order in which PostgreSQL asks them, so that what follows the first that lets a row pass cannot raise.
    select string_agg(p.expression, ' or ' order by p.name desc) filter (where p.permissive),
           string_agg(p.expression, ' and ' order by p.name) filter (where not p.permissive),
           coalesce(bool_or(realtime_worker.names_row(p.tree)), false)
      into permissive, restrictive, whole_row
      from realtime_worker.policies_for(rel, role_name, command) p;
    if permissive is null then
        state := 'no_policy'; expression := 'false'; whole_row := false; return;
    end if;
    expression := coalesce(restrictive || ' and ', '') || '(' || permissive || ')';
    -- The catalog knows which columns a policy names. A value that an image lacks must deny, not be read as NULL.
    select coalesce(array_agg(a.attname::text order by a.attnum), '{}') into needed
      from pg_catalog.pg_attribute a
     where a.attrelid = rel and a.attnum > 0 and not a.attisdropped
       and (whole_row or exists (
            select from pg_catalog.pg_depend d, realtime_worker.policies_for(rel, role_name, command) p
             where d.classid = 'pg_catalog.pg_policy'::regclass and d.objid = p.id
               and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = rel
               and d.refobjsubid = a.attnum));
end $$;

-- Columns of which row_to_json writes what the type does not read back: types with a cast to json of their own, and
-- generated columns that a trigger does not see. A policy that names one cannot be judged.
create function realtime_worker.unreadable_columns(rel regclass) returns text[]
language sql stable set search_path = '' as $$
    select coalesce(array_agg(a.attname::text order by a.attnum), '{}')
      from pg_catalog.pg_attribute a
     where a.attrelid = unreadable_columns.rel and a.attnum > 0 and not a.attisdropped
       and (a.attgenerated = 'v'
            or exists (select from pg_catalog.pg_cast c
                        where c.castsource = a.atttypid and c.castmethod = 'f'
                          and c.casttarget = 'pg_catalog.json'::regtype))
$$;

insert into realtime_worker.version values (2, 'policies');
