-- Version 6: images that were published before, judged by the policies of now; and private channels.
select pg_advisory_xact_lock(7261401);

-- The images of a request by table, with their places, which count from 0.
create function realtime_worker.judge_tables(p json)
returns table (rel regclass, schema_name text, table_name text, places int[], images json[])
language sql stable security definer set search_path = '' as $$
    select t.rel, i.image ->> 'schema', i.image ->> 'table', array_agg(i.place::int - 1 order by i.place),
           array_agg(i.image -> 'row' order by i.place)
      from json_array_elements(p -> 'images') with ordinality i (image, place),
           lateral realtime_worker.find_table(i.image ->> 'schema', i.image ->> 'table') t (rel)
     where t.rel is not null and json_typeof(i.image -> 'row') = 'object'
     group by 1, 2, 3 order by 2, 3
$$;

create function realtime_worker.judge_roles(p json) returns table (role text, ids text[], claims text[])
language sql immutable set search_path = '' as $$
    select g ->> 'role', array_agg(g ->> 'id' order by n), array_agg(coalesce(g ->> 'claims', '{}') order by n)
      from json_array_elements(p -> 'groups') with ordinality x (g, n)
     where g ->> 'role' is not null group by 1 order by 1
$$;

-- The verdict on one table's images for one role. What came after a statement timeout is denied with it: there is no
-- second timeout in a statement, so nothing may be judged any more.
create function realtime_worker.sight_json(rel regclass, schema_name text, table_name text, places int[], images json[],
    role_name text, ids text[], claims text[], inout canceled boolean, out verdict json)
language plpgsql set search_path = '' as $$
declare
    groups constant int := cardinality(ids);
    sees text[] := '{}'; codes text[] := '{}'; j record;
begin
    if not canceled then
        j := realtime_worker.judge_images(rel, role_name, 'r', images, claims, '');
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

-- Images judged by the policies of now. A table that is not there has no verdict.
create function realtime_worker.judge(p json) returns json
language plpgsql set search_path = '' set jit = off set lock_timeout = '1s' as $$
declare
    t record; r record; s record; canceled boolean := false; verdicts json[] := '{}';
begin
    for t in select * from realtime_worker.judge_tables(p) loop
        for r in select * from realtime_worker.judge_roles(p) loop
            s := realtime_worker.sight_json(t.rel, t.schema_name, t.table_name, t.places, t.images, r.role, r.ids, r.claims, canceled);
            canceled := s.canceled;
            verdicts := verdicts || s.verdict;
        end loop;
    end loop;
    return json_build_object('verdicts', verdicts);
end $$;

-- The rows on which the policies of `realtime.messages` are asked, as Supabase does with rows that it inserts and rolls
-- back: one for broadcasts and one for presence. Nothing is inserted here.
create function realtime_worker.trial_rows(rel regclass, topic text) returns json[]
language sql stable security definer set search_path = '' as $$
    select array(
        select json_object_agg(a.attname, case a.attname
                   when 'topic' then to_json(topic) when 'extension' then to_json(e.extension)
                   when 'private' then 'true' when 'id' then to_json(gen_random_uuid())
                   when 'inserted_at' then to_json(now() at time zone 'UTC')
                   when 'updated_at' then to_json(now() at time zone 'UTC') end)
          from unnest(array['broadcast', 'presence']) with ordinality e (extension, place), pg_catalog.pg_attribute a
         where a.attrelid = rel and a.attnum > 0 and not a.attisdropped
         group by e.place, e.extension order by e.place)
$$;

-- What a principal may do on a private topic, by the policies on `realtime.messages`: SELECT receives, INSERT sends.
create function realtime_worker.authorize(p json) returns json
language plpgsql set search_path = '' set jit = off set lock_timeout = '1s' as $$
declare
    rel constant regclass := realtime_worker.find_table('realtime', 'messages');
    claims constant text[] := array[coalesce(p ->> 'claims', '{}')];
    trial json[]; reads record; writes record; read_bits text := '00'; write_bits text := '00';
begin
    if rel is not null and p ->> 'topic' is not null and p ->> 'role' is not null then
        trial := realtime_worker.trial_rows(rel, p ->> 'topic');
        reads := realtime_worker.judge_images(rel, p ->> 'role', 'r', trial, claims, p ->> 'topic');
        if reads.canceled is null then
            read_bits := reads.sees[1];
            writes := realtime_worker.judge_images(rel, p ->> 'role', 'a', trial, claims, p ->> 'topic');
            if writes.canceled is null then write_bits := writes.sees[1]; end if;
        end if;
    end if;
    return json_build_object(
        'read', left(read_bits, 1) = '1', 'write', left(write_bits, 1) = '1',
        'presence_read', right(read_bits, 1) = '1', 'presence_write', right(write_bits, 1) = '1');
end $$;

insert into realtime_worker.version values (6, 'history');
