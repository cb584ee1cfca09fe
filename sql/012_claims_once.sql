-- Version 12: what a policy reads of the caller's claims is read once per caller and not once per row.
select pg_catalog.pg_advisory_xact_lock(7261401);

-- `current_setting('request.jwt.claims', true)::json ->> 'sub'`, as pg_get_expr writes it, becomes a subquery of its own, as
-- `auth.uid()` does: parsing the claims for each row costs more than all else of a policy. Inside a text literal its
-- quotes would be doubled, so that nothing there looks like it; a name in double quotes that does is left alone.
create function realtime_worker.settings_once(expression text) returns text
language sql immutable set search_path = '' as $$
    select case when expression ~ '"[^"]*current_setting[^"]*"' then expression else
        regexp_replace(expression,
            $q$(\(\((?:current_setting\('[^']*'::text(?:, true)?\)|NULLIF\(current_setting\('[^']*'::text(?:, true)?\), ''::text\))\)::jsonb? ->> '[^']*'::text\))$q$,
            '(select \1)', 'g')
    end
$$;

-- As in version 3, and the settings.
create or replace function realtime_worker.evaluate_once(expression text) returns text
language plpgsql stable set search_path = '' as $$
declare
    call text[];
begin
    expression := realtime_worker.settings_once(expression);
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

-- Every judge is made anew.
delete from realtime_worker.judges;
select realtime_worker.grant_reader();

insert into realtime_worker.version values (12, 'claims_once');
