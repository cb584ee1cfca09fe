-- Removes everything that the installation made in this database. Tables of applications lose their triggers, nothing else.
select pg_catalog.pg_advisory_xact_lock(7261401);

-- The triggers go with the functions that they call.
drop schema if exists realtime_worker cascade;

do $$
begin
    if obj_description(to_regnamespace('realtime'), 'pg_namespace') like 'Installed by realtime-worker%' then
        drop schema realtime cascade;
    end if;
    if obj_description(to_regprocedure('public.enable_realtime(text,text)'), 'pg_proc') = 'Installed by realtime-worker.' then
        drop function public.enable_realtime(text, text), public.disable_realtime(text, text);
    end if;
end $$;

-- The role belongs to the server. It stays where it has rights in other databases, or is another's to drop.
do $$
begin
    if exists (select from pg_catalog.pg_roles where rolname = 'realtime_worker_reader') then
        drop role realtime_worker_reader;
    end if;
exception when dependent_objects_still_exist or insufficient_privilege or object_in_use then
    raise notice 'the role realtime_worker_reader stays: %', sqlerrm;
end $$;
