-- Version 10: `select enable_realtime('public', 'products')`, as Fluxbase documents it. Only where schema `public` has no
-- function of that name and may be written to.
select pg_catalog.pg_advisory_xact_lock(7261401);

do $do$
begin
    if to_regnamespace('public') is null or not has_schema_privilege('public', 'CREATE')
       or exists (select from pg_catalog.pg_proc where pronamespace = to_regnamespace('public')
                   and proname in ('enable_realtime', 'disable_realtime')) then
        return;
    end if;
    -- With the rights of whoever calls it, which only the owner has.
    create function public.enable_realtime(schema text, "table" text) returns json
    language sql as $$ select realtime_worker.enable_realtime(schema, "table") $$;
    create function public.disable_realtime(schema text, "table" text) returns json
    language sql as $$ select realtime_worker.disable_realtime(schema, "table") $$;
    comment on function public.enable_realtime(text, text) is 'Installed by realtime-worker.';
    comment on function public.disable_realtime(text, text) is 'Installed by realtime-worker.';
end $do$;

insert into realtime_worker.version values (10, 'unqualified');
