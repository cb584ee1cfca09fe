-- Version 3: the judge. For each table, role and command one generated function decides for many row images and many
-- callers (claims) at once which of them see which, exactly as a SELECT under that role would.
select pg_advisory_xact_lock(7261401);

create table realtime_worker.judges (
    rel       regclass,
    role      text,
    command   "char",
    source    text not null,                     -- what the function was made from; made again when that differs
    columns   text[] not null,                   -- what the role may read of the table
    primary key (rel, role, command)
);

-- What could not be judged and was denied, by SQLSTATE. The server's message may quote a row, so it is not kept.
create table realtime_worker.failures (
    rel        regclass,
    role       text,
    code       text,
    count      bigint not null,
    last_at    timestamptz not null,
    primary key (rel, role, code)
);

-- `auth.uid()` becomes `(select auth.uid())`: once per statement and not once per row, which is what PostgreSQL promises of
-- a stable function. Text with something like a call inside quotes is left alone.
create function realtime_worker.evaluate_once(expression text) returns text
language plpgsql stable set search_path = '' as $$
declare
    call text[];
begin
    if expression ~ $q$'[^']*\(\)[^']*'|"[^"]*\(\)[^"]*"$q$ then return expression; end if;
    for call in
        select distinct m from regexp_matches(
            expression, '(?<![\w."])(([a-z_][a-z0-9_]*)\.([a-z_][a-z0-9_]*)\(\))', 'g') m
    loop
        if exists (select from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
                    where n.nspname = call[2] and p.proname = call[3] and p.pronargs = 0
                      and p.provolatile in ('s', 'i') and not p.proretset) then
            expression := regexp_replace(expression, format('(?<![\w."])%s\.%s\(\)', call[2], call[3]),
                                         '(select ' || call[1] || ')', 'g');
        end if;
    end loop;
    return expression;
end $$;

-- Columns that must come along in an image although nobody asks for them: a domain may forbid the NULL that would stand
-- for a column that is left out.
create function realtime_worker.domain_columns(rel regclass) returns text[]
language sql stable set search_path = '' as $$
    select coalesce(array_agg(a.attname::text), '{}')
      from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
     where a.attrelid = domain_columns.rel and a.attnum > 0 and not a.attisdropped and t.typtype = 'd'
$$;

-- The statement that finds the visible ones of `slice`, as positions into it. The row goes by
-- the table's own name, because that is what pg_get_expr writes inside subqueries.
create function realtime_worker.visible_statement(rel regclass, expression text, whole_row boolean) returns text
language sql stable set search_path = '' as $$
    select case
        when expression is null then
            'visible := array(select pg_catalog.generate_series(1, last - first + 1))'
        when expression = 'false' then 'visible := ''{}'''
        -- The row must be of the table's own type, so there is no room for its position in it.
        when whole_row then pg_catalog.format(
            'visible := array(select v.position from (select pg_catalog.row_number() over () as position, (%s) as seen'
            ' from pg_catalog.unnest(slice) as %I) v where v.seen)',
            expression, c.relname)
        else pg_catalog.format(
            'visible := array(select realtime_worker_position from pg_catalog.unnest(slice)'
            ' with ordinality as %I (%s realtime_worker_position) where %s)',
            c.relname, (select pg_catalog.string_agg(pg_catalog.quote_ident(a.attname) || ',', ' ' order by a.attnum)
                          from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
            realtime_worker.evaluate_once(expression))
        end
      from pg_catalog.pg_class c where c.oid = visible_statement.rel
$$;

-- The body of a judge. The traps:
-- * It runs as the reader and becomes the role by SET LOCAL ROLE, which a SECURITY DEFINER function may not.
-- * `records` is split where an expression raises: each caller asks piece by piece, so one row that raises denies itself
--   only, and the next caller does not pay again for finding it.
-- * A policy may not write: read-only lasts as long as the block it is set in.
-- * A statement timeout fires once in a statement; whoever is being judged then is named, and `take` begins again.
-- * A table of a policy that is locked, as a migration does, is nobody's fault: `canceled` is -1, and the batch comes again.
create function realtime_worker.judge_body(rel regclass, role_name text, command "char") returns text
language plpgsql stable set search_path = '' as $fn$
declare
    p record := realtime_worker.policy(rel, role_name, command);
begin
    if p.needed && realtime_worker.unreadable_columns(rel) then
        return '#variable_conflict use_column
begin
    sees := pg_catalog.array_fill(pg_catalog.repeat(''0'', pg_catalog.cardinality(images)), array[pg_catalog.cardinality(claims)]);
    codes := pg_catalog.array_fill(''0A000''::text, array[pg_catalog.cardinality(claims)]);
end';
    end if;
    return pg_catalog.format($body$
#variable_conflict use_column
declare
    total constant int := pg_catalog.cardinality(images);
    records %1$s[]; slice %1$s[]; positions int[]; starts int[] := '{1}'; picked json[]; visible int[]; bits text; code text; lost text; ignored text;
    piece int; first int; last int; place int; caller int; began timestamptz;
    session_role constant text := pg_catalog.current_setting('role');
    session_path constant text := pg_catalog.current_setting('search_path');
begin
    sees := '{}'; codes := '{}';
    -- The part of each image that is needed; without a needed column (renamed, added, excluded) it is left out.
    select pg_catalog.array_agg(x.part order by i.n), pg_catalog.array_agg(i.n order by i.n) into picked, positions
      from pg_catalog.unnest(images) with ordinality i (image, n)
      cross join lateral (select coalesce(pg_catalog.json_object_agg(e.key, e.value), '{}') as part,
                                 pg_catalog.count(*) filter (where e.key = any (%2$L::text[])) as columns
                            from pg_catalog.json_each(i.image) e where e.key = any (%6$L::text[])) x
     where i.image is not null and x.columns = %5$s;
    if coalesce(pg_catalog.cardinality(positions), 0) < (select pg_catalog.count(image) from pg_catalog.unnest(images) i (image)) then
        lost := '42703';
    end if;
    perform pg_catalog.set_config('search_path', path, true), pg_catalog.set_config('realtime.topic', topic, true),
            pg_catalog.set_config('request.jwt.claim.role', %3$L, true), pg_catalog.set_config('role', %3$L, true);
    begin
        records := array(select pg_catalog.json_populate_record(null::%1$s, i) from pg_catalog.unnest(picked) i);
    exception when lock_not_available then raise;
    when others then
        lost := sqlstate; records := '{}'; visible := '{}';
        for place in 1 .. pg_catalog.cardinality(picked) loop
            begin
                records := records || pg_catalog.json_populate_record(null::%1$s, picked[place]);
                visible := visible || positions[place];
            exception when others then lost := sqlstate;
            end;
        end loop;
        positions := visible;
    end;
    slice := records;
    for caller in 1 .. pg_catalog.cardinality(claims) loop
        bits := pg_catalog.repeat('0', total); code := lost; piece := 1; began := pg_catalog.clock_timestamp();
        while piece <= pg_catalog.cardinality(starts) and pg_catalog.cardinality(records) > 0 loop
            first := starts[piece]; last := coalesce(starts[piece + 1] - 1, pg_catalog.cardinality(records));
            if pg_catalog.cardinality(starts) > 1 then slice := records[first:last]; end if;
            begin
                -- One expression and no SELECT: PERFORM would take as long as the rest of this caller.
                ignored := pg_catalog.set_config('transaction_read_only', 'on', true)
                    || pg_catalog.set_config('request.jwt.claims', claims[caller], true)
                    || pg_catalog.set_config('request.jwt.claim.sub', coalesce(claims[caller]::json ->> 'sub', ''), true);
                %4$s;
                foreach place in array visible loop
                    bits := pg_catalog.overlay(bits, '1'::text, positions[first - 1 + place], 1);
                end loop;
                piece := piece + 1;
            exception
                when query_canceled or lock_not_available then
                    canceled := case when sqlstate = '55P03' then -1 else caller end;
                    seconds := extract(epoch from pg_catalog.clock_timestamp() - began);
                    piece := null;
                when assert_failure or others then
                    if first = last then
                        code := sqlstate; piece := piece + 1;
                    else
                        starts := starts[:piece] || (first + last + 1) / 2 || starts[piece + 1:];
                    end if;
            end;
        end loop;
        exit when canceled is not null;
        sees := sees || bits; codes := codes || code;
    end loop;
    perform pg_catalog.set_config('role', session_role, true), pg_catalog.set_config('search_path', session_path, true);
end $body$, rel, p.needed, role_name, realtime_worker.visible_statement(rel, p.expression, p.whole_row),
        cardinality(p.needed), p.needed || realtime_worker.domain_columns(rel));
end $fn$;

-- Everything that a judge is made from, in one statement whose plan is kept: every batch asks whether it changed.
create function realtime_worker.judge_source(rel regclass, role_name text, command "char") returns text
language plpgsql stable set search_path = '' as $$
declare
    privilege constant text := case command when 'a' then 'INSERT' else 'SELECT' end;
begin
    return (select json_build_array(c.oid::regclass, c.relrowsecurity, c.relforcerowsecurity, r.rolsuper, r.rolbypassrls,
            pg_has_role(r.oid, c.relowner, 'USAGE'), has_schema_privilege(r.oid, c.relnamespace, 'USAGE'),
            has_table_privilege(r.oid, c.oid, privilege), has_any_column_privilege(r.oid, c.oid, privilege),
            (select json_agg(json_build_array(a.attname, a.atttypid, a.attgenerated, has_column_privilege(r.oid, c.oid, a.attnum, 'SELECT'))
                             order by a.attnum)
               from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
            (select json_agg(json_build_array(p.polname, p.polcmd, p.polpermissive, pg_get_expr(p.polqual, p.polrelid),
                                              pg_get_expr(p.polwithcheck, p.polrelid)) order by p.polname)
               from pg_catalog.pg_policy p
              where p.polrelid = c.oid and p.polcmd in (command, '*')
                and exists (select from unnest(p.polroles) m (role) where m.role = 0 or pg_has_role(r.oid, m.role, 'USAGE'))),
            (select json_agg(t.exclude) from realtime_worker.tables t where t.rel = c.oid))::text
        from pg_catalog.pg_class c left join pg_catalog.pg_roles r on r.rolname = role_name where c.oid = judge_source.rel);
end $$;

-- Makes the judge of a table, role and command where there is none or its policies, columns or grants are others now.
-- Returns its name. The body is quoted as a literal: a policy may contain any dollar quote.
create function realtime_worker.compile(rel regclass, role_name text, command "char") returns text
language plpgsql security definer set search_path = '' as $fn$
#variable_conflict use_variable
declare
    judge constant text := 'judge_of_' || rel::oid || '_' || md5(command::text || role_name);
    source constant text := realtime_worker.judge_source(rel, role_name, command);
    body text;
begin
    if exists (select from realtime_worker.judges j
                where j.rel = compile.rel and j.role = role_name and j.command = compile.command and j.source = source)
       and to_regproc('realtime_worker.' || judge) is not null then
        return judge;
    end if;
    -- A lock of its own: enabling a table may wait long for the table, and no batch may wait for that.
    perform pg_advisory_xact_lock(7261404);
    body := realtime_worker.judge_body(rel, role_name, command);
    execute format(
        'create or replace function realtime_worker.%I(images json[], claims text[], topic text, path text, out sees text[],'
        ' out codes text[], out canceled int, out seconds float8)'
        ' language plpgsql volatile set plan_cache_mode = force_generic_plan as %L', judge, body);
    execute format('revoke all on function realtime_worker.%I from public', judge);
    perform realtime_worker.grant_to_reader(format('execute on function realtime_worker.%I', judge));
    insert into realtime_worker.judges values (rel, role_name, command, source,
        case when (realtime_worker.policy(rel, role_name, command)).state = 'denied' then '{}'
             else realtime_worker.columns(rel, role_name) end)
        on conflict on constraint judges_pkey do update set source = excluded.source, columns = excluded.columns;
    return judge;
end $fn$;

-- The reader may not exist: an owner without CREATEROLE waits for someone who may make it, then calls `grant_reader`.
create function realtime_worker.grant_to_reader(privilege text) returns void
language plpgsql set search_path = '' as $$
begin
    if exists (select from pg_catalog.pg_roles where rolname = 'realtime_worker_reader') then
        execute format('grant %s to realtime_worker_reader', privilege);
    end if;
end $$;

create function realtime_worker.reader_path() returns text
language sql stable security definer set search_path = '' as $$
    select search_path from realtime_worker.reader
$$;

-- One table's images judged for callers of one role. `state`: NULL, or the SQLSTATE that denies them all.
create function realtime_worker.judge_images(rel regclass, role_name text, command "char", images json[], claims text[],
    topic text, out sees text[], out codes text[], out canceled int, out seconds float8)
language plpgsql set search_path = '' as $$
begin
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

create function realtime_worker.count_failures(rel regclass, role_name text, codes text[]) returns void
language sql security definer set search_path = '' as $$
    insert into realtime_worker.failures
    select rel, role_name, code, count(*), now()
      from unnest(codes) code where code is not null group by code
    on conflict on constraint failures_pkey
    do update set count = failures.count + excluded.count, last_at = excluded.last_at
$$;

-- `{group: SQLSTATE}` of those that could not be judged whole.
create function realtime_worker.failed(ids text[], codes text[]) returns json
language sql immutable set search_path = '' as $$
    select coalesce(json_object_agg(id, code), '{}')
      from unnest(ids, codes) x (id, code) where code is not null
$$;

insert into realtime_worker.version values (3, 'judge');
