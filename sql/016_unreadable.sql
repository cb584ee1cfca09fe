-- Version 16: a row or a caller that cannot be read is not the others' affair.
select pg_catalog.pg_advisory_xact_lock(7261401);

-- An image that every function reads. A column of type json keeps escapes that stand for no character, such as \u0000, and one
-- of them would fail all rows that are judged or published together: they become U+FFFD. Behind a doubled backslash is no escape.
create function realtime_worker.readable(image json) returns json
language plpgsql immutable set search_path = '' as $$
begin
    perform from json_each(image);
    return image;
exception when untranslatable_character or invalid_text_representation then
    return regexp_replace(image::text, $q$(?<!\\)((?:\\\\)*)\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2})$q$, $q$\1\\ufffd$q$, 'g');
end $$;

-- As in version 1, and what is captured can be read.
create or replace function realtime_worker.capture() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC' set datestyle = 'ISO' set intervalstyle = 'postgres'
set extra_float_digits = 1 set bytea_output = 'hex'
as $$
declare
    new_image json; old_image json; new_organization text; old_organization text;
begin
    if tg_op in ('INSERT', 'UPDATE') then new_image := row_to_json(new); end if;
    if tg_op in ('UPDATE', 'DELETE') then old_image := row_to_json(old); end if;
    if strpos(new_image::text, $q$\u$q$) > 0 then new_image := realtime_worker.readable(new_image); end if;
    if strpos(old_image::text, $q$\u$q$) > 0 then old_image := realtime_worker.readable(old_image); end if;
    if tg_nargs > 1 then
        new_organization := new_image ->> tg_argv[1];
        old_organization := old_image ->> tg_argv[1];
    end if;
    if tg_nargs > 2 then
        new_image := realtime_worker.without(new_image, tg_argv[2:]);
        old_image := realtime_worker.without(old_image, tg_argv[2:]);
    end if;
    insert into realtime_worker.changes (operation, rel, organization, old_organization, new, old, bytes)
    select tg_op, case when tg_argv[0] = 'root' then pg_partition_root(tg_relid) else tg_relid end,
           new_organization, old_organization, new_image, old_image,
           coalesce(octet_length(new_image::text), 0) + coalesce(octet_length(old_image::text), 0)
      from realtime_worker.reader where capture_until > now();
    return null;
end $$;

-- As in version 3, with one more trap: claims that fail most rows are their caller's affair, so the pieces that this made are
-- forgotten. The traps:
-- * It runs as the reader and becomes the role by SET LOCAL ROLE, which a SECURITY DEFINER function may not.
-- * `records` is split where an expression raises: each caller asks piece by piece, so one row that raises denies itself
--   only, and the next caller does not pay again for finding it.
-- * A policy may not write: read-only lasts as long as the block it is set in.
-- * A statement timeout fires once in a statement; whoever is being judged then is named, and `take` begins again.
-- * A table of a policy that is locked, as a migration does, is nobody's fault: `canceled` is -1, and the batch comes again.
create or replace function realtime_worker.judge_body(rel regclass, role_name text, command "char") returns text
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
    piece int; first int; last int; place int; caller int; began timestamptz; earlier int[]; denied int;
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
        earlier := starts; denied := 0;
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
                        code := sqlstate; piece := piece + 1; denied := denied + 1;
                    else
                        starts := starts[:piece] || (first + last + 1) / 2 || starts[piece + 1:];
                    end if;
            end;
        end loop;
        exit when canceled is not null;
        if 4 * denied > pg_catalog.cardinality(records) then
            starts := earlier; slice := records;
        end if;
        sees := sees || bits; codes := codes || code;
    end loop;
    perform pg_catalog.set_config('role', session_role, true), pg_catalog.set_config('search_path', session_path, true);
end $body$, rel, p.needed, role_name, realtime_worker.visible_statement(rel, p.expression, p.whole_row),
        cardinality(p.needed), p.needed || realtime_worker.domain_columns(rel));
end $fn$;

-- Every judge is made anew.
delete from realtime_worker.judges;
select realtime_worker.grant_reader();

insert into realtime_worker.version values (16, 'unreadable');
