-- Version 4: batches. One is fixed, judged, handed out, and deleted when the reader says that it was published.
select pg_advisory_xact_lock(7261401);

-- (Table, role, group) that ran into the statement timeout while a batch was judged; `group_id` NULL: the whole role.
create table realtime_worker.timeouts (
    batch    bigint not null references realtime_worker.batches on delete cascade,
    rel      regclass not null,
    role     text not null,
    group_id text,
    unique nulls not distinct (batch, rel, role, group_id)
);

-- Names this state of the outbox: another after a restore, a failover, a new installation, or a gap in the capture. The
-- numbers of batches are comparable within one of these.
create function realtime_worker.epoch() returns text
language plpgsql stable security definer set search_path = '' as $$
declare
    here constant text := (select d.oid || '-' || 'realtime_worker.batches'::regclass::oid || '-' || r.generation
                             from realtime_worker.reader r, pg_catalog.pg_database d where d.datname = current_database());
begin
    return (select s.system_identifier || '-' || c.timeline_id || '-' || here from pg_control_system() s, pg_control_checkpoint() c);
exception when insufficient_privilege then
    return here;                                 -- a provider that does not tell: a failover goes unseen, a restore does not
end $$;

-- The next changes in order: transactions by their last change, whole, as many as fit into `max_changes` and `max_bytes`.
-- A transaction that fits nowhere is cut, and its rest comes before all others. Only the oldest `window_size` changes are
-- sorted; a transaction that reaches beyond them waits, since one that ends before it may lie beyond them too.
create function realtime_worker.next_changes(max_changes int, max_bytes bigint, window_size bigint) returns bigint[]
language plpgsql volatile set search_path = '' as $$
begin
    return (
    with oldest as materialized (
        select id, xid, bytes from realtime_worker.changes order by id limit window_size
    ), transactions as materialized (
        select o.xid, count(*) as changes, sum(least(o.bytes, 2 * 1048576)) as bytes,
               (select max(c.id) from realtime_worker.changes c where c.xid = o.xid) as last_id
          from oldest o group by o.xid
    ), ordered as (
        select xid, last_id, sum(changes) over w as changes, sum(bytes) over w as bytes,
               row_number() over w as place
          from transactions
         where last_id <= (select max(id) from oldest)
        window w as (order by last_id)
    ), rows as (
        select o.id, t.last_id, row_number() over w as place, sum(least(o.bytes, 2 * 1048576)) over w as bytes
          from ordered t join oldest o using (xid)
         where t.place = 1 or (t.changes <= max_changes and t.bytes <= max_bytes)
        window w as (order by t.last_id, o.id)
    )
    select array_agg(id order by last_id, id) from rows
     where place = 1 or (place <= max_changes and bytes <= max_bytes));
end $$;

-- Fixes a batch and returns its number; NULL when there is nothing to fix.
create function realtime_worker.fix_batch(max_changes int) returns bigint
language plpgsql set search_path = '' as $$
declare
    max_bytes constant bigint := 4 * 1048576;
    cut xid8 := (select cut_xid from realtime_worker.reader);
    chosen bigint[]; window_size bigint := 4 * max_changes; waiting bigint; fixed bigint;
begin
    if cut is not null then
        select array_agg(id order by id) into chosen
          from (select id, row_number() over w as place, sum(least(bytes, 2 * 1048576)) over w as size
                  from (select id, bytes from realtime_worker.changes where xid = cut order by id limit max_changes) c
                window w as (order by id)) x
         where place = 1 or size <= max_bytes;
    end if;
    while chosen is null loop
        chosen := realtime_worker.next_changes(max_changes, max_bytes, window_size);
        if chosen is null then
            select count(*) into waiting
              from (select from realtime_worker.changes limit window_size + 1) c;
            exit when waiting <= window_size;
            window_size := 8 * window_size;
        end if;
    end loop;
    if chosen is null then return null; end if;
    insert into realtime_worker.batches (changes) values (chosen) returning id into fixed;
    -- A transaction is cut when its last change here is not its last.
    select c.xid into cut from realtime_worker.changes c
     where c.id = chosen[cardinality(chosen)]
       and exists (select from realtime_worker.changes later where later.xid = c.xid and later.id > c.id);
    update realtime_worker.reader set cut_xid = cut where cut_xid is distinct from cut;
    return fixed;
end $$;

-- Notes that a batch was fixed. From 20 batches in a second on, the reader polls and writers need not knock.
create function realtime_worker.extend_lease() returns void
language plpgsql set search_path = '' as $$
begin
    update realtime_worker.reader
       set second = date_trunc('second', clock_timestamp()),
           batches = case when second = date_trunc('second', clock_timestamp()) then batches + 1 else 1 end,
           awake_until = case when batches < 19 then awake_until
                              else greatest(awake_until, clock_timestamp() + interval '2 s') end;
end $$;

-- Notes that the reader is there: capture goes on for `retain` from now. When it had stopped, a new epoch begins.
create function realtime_worker.note_reader() returns void
language plpgsql set search_path = '' as $$
begin
    update realtime_worker.reader
       set generation = generation + case when capture_until <= now() then 1 else 0 end,
           capture_until = now() + retain
     where capture_until < now() + retain - interval '1 minute';
end $$;

-- Deletes a published batch, and returns the one to be published next; without one, `batch` is NULL and `next` says what to do.
-- Without sequential scans: a plan that was made while the outbox was empty would be kept when it is not.
create function realtime_worker.next_batch(done bigint, max_changes int, out batch bigint, out next text)
language plpgsql security definer set search_path = '' set enable_seqscan = off as $$
declare
    published bigint[];
begin
    perform pg_advisory_xact_lock(7261402);       -- a reader that is being replaced may still be at it
    perform realtime_worker.note_reader();
    perform realtime_worker.delete_old_messages();
    delete from realtime_worker.batches b where b.id <= done returning b.changes into published;
    delete from realtime_worker.changes c where c.id = any (published);
    select b.id into batch from realtime_worker.batches b order by b.id limit 1;
    if found then return; end if;                            -- fixed, and perhaps published, before a crash
    batch := realtime_worker.fix_batch(greatest(1, least(coalesce(max_changes, 256), 10000)));
    if batch is not null then
        perform realtime_worker.extend_lease();
        return;
    end if;
    -- The reader may sleep when writers would knock, none that did not knock is still at it, and none has just finished.
    -- Three statements, in this order: each looks later than the one before.
    next := 'poll';
    if (select awake_until from realtime_worker.reader) > clock_timestamp() then return; end if;
    if exists (select from pg_catalog.pg_locks
                where relation = 'realtime_worker.changes'::regclass and mode = 'RowExclusiveLock'
                  and database = (select oid from pg_catalog.pg_database where datname = current_database())
                  and pid is distinct from pg_backend_pid()) then
        return;
    end if;
    if exists (select from realtime_worker.changes) then return; end if;
    next := 'sleep';
end $$;

-- A batch with the names that its tables have now (or had, when they are gone), in order. `place` counts from 0 and is the
-- place in the batch whatever else happens to the tables meanwhile: verdicts are matched to changes by it.
create function realtime_worker.batch_changes(batch bigint)
returns table (place int, rel regclass, schema_name text, table_name text, operation text, at timestamptz,
               organization text, old_organization text, new json, old json, bytes int)
language plpgsql stable security definer set search_path = '' set enable_seqscan = off as $$
#variable_conflict use_column
begin
    return query
    select u.place::int - 1, c.rel, coalesce(n.nspname::text, t.schema_name, ''), coalesce(r.relname::text, t.table_name, ''),
           coalesce(c.operation, 'TRUNCATE'), c.at, c.organization, c.old_organization, c.new, c.old, c.bytes
      from realtime_worker.batches b cross join lateral unnest(b.changes) with ordinality u (id, place)
      left join realtime_worker.changes c on c.id = u.id
      left join pg_catalog.pg_class r on r.oid = c.rel
      left join pg_catalog.pg_namespace n on n.oid = r.relnamespace
      left join realtime_worker.tables t on t.rel = c.rel
     where b.id = batch_changes.batch;
end $$;

-- These have no settings of their own, so that they are inlined; what calls them has an empty search path.
-- A row as it is sent when it is too large: its key, and the columns of at most 64 bytes.
create function realtime_worker.shortened(image json, key text[]) returns json
language sql immutable strict as $$
    select coalesce(json_object_agg(i.key, i.value), '{}') from json_each(image) i
     where i.key = any (shortened.key) or octet_length(i.value::text) <= 64
$$;

create function realtime_worker.is_large(new json, old json) returns boolean
language sql immutable as $$
    select greatest(octet_length(new::text), octet_length(old::text)) > 1048576
$$;

create function realtime_worker.iso(at timestamptz) returns text
language sql stable as $$
    select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

-- One change in its public form.
create function realtime_worker.change_json(schema_name text, table_name text, operation text, at timestamptz,
    organization text, old_organization text, new json, old json, large boolean, key text[]) returns json
language sql stable as $$
    select case when operation = 'MESSAGE' then
        json_build_object('schema', schema_name, 'table', table_name, 'op', operation, 'at', realtime_worker.iso(at),
            'organization', organization, 'old_organization', null, 'new', null, 'old', null, 'truncated', false, 'message', new)
    else
        json_build_object('schema', schema_name, 'table', table_name, 'op', operation, 'at', realtime_worker.iso(at),
            'organization', organization, 'old_organization', old_organization,
            'new', case when large then realtime_worker.shortened(new, key) else new end,
            'old', case when large then realtime_worker.shortened(old, key) else old end, 'truncated', large)
    end
$$;

insert into realtime_worker.version values (4, 'batches');
