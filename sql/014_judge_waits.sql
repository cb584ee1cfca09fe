-- Version 14: a locked table is nobody's fault when rows are judged again for someone who comes back, either.
select pg_catalog.pg_advisory_xact_lock(7261401);

-- As in version 6, but a table that is locked, as by a migration, fails the whole question: whoever asks does so again, and
-- nobody is told that what was missed cannot be told.
create or replace function realtime_worker.sight_json(rel regclass, schema_name text, table_name text, places int[], images json[],
    role_name text, ids text[], claims text[], inout canceled boolean, out verdict json)
language plpgsql set search_path = '' as $$
declare
    groups constant int := cardinality(ids);
    sees text[] := '{}'; codes text[] := '{}'; j record;
begin
    if not canceled then
        j := realtime_worker.judge_images(rel, role_name, 'r', images, claims, '');
        if j.canceled = -1 then
            raise exception 'a table that is needed to judge is locked' using errcode = 'lock_not_available';
        end if;
        canceled := j.canceled is not null;
        sees := coalesce(j.sees, '{}'); codes := coalesce(j.codes, '{}');
    end if;
    while cardinality(sees) < groups loop
        sees := sees || repeat('0', cardinality(images)); codes := codes || '57014'::text;
    end loop;
    verdict := json_build_object('schema', schema_name, 'table', table_name, 'role', role_name,
        'columns', realtime_worker.readable_columns(rel, role_name), 'images', places, 'groups', ids, 'sees', sees,
        'failed', realtime_worker.failed(ids, codes));
end $$;

insert into realtime_worker.version values (14, 'judge_waits');
