-- Version 9: Supabase's SQL surface, where schema `realtime` is free. Hosted Supabase has its own.
select pg_catalog.pg_advisory_xact_lock(7261401);

-- A row of `realtime.messages` becomes a message to its topic. Where several organizations share the database, the
-- transaction says whose it is: `set_config('realtime_worker.organization', 'org_1', true)`.
create function realtime_worker.capture_message() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    message json := json_build_object('id', new.id, 'topic', new.topic, 'event', new.event, 'payload', new.payload,
        'private', coalesce(new.private, false), 'binary', translate(encode(new.binary_payload, 'base64'), E'\n', ''));
    bytes constant int := octet_length(message::text);
begin
    -- As in Supabase. More than this would not fit into what the Worker takes at once.
    if bytes > 3000000 then
        raise exception 'the payload of a message is limited to 3,000,000 bytes' using errcode = '54000';
    end if;
    insert into realtime_worker.changes (operation, rel, organization, new, bytes)
    select 'MESSAGE', tg_relid, nullif(current_setting('realtime_worker.organization', true), ''), message, bytes
      from realtime_worker.reader where capture_until > now();
    return null;
end $$;

-- Everything lies in one block, because it is made all or not at all.
do $do$
begin
    if to_regnamespace('realtime') is not null then return; end if;
    create schema realtime;
    comment on schema realtime is 'Installed by realtime-worker: the SQL surface of Supabase Realtime.';

    -- Policies on this table decide private channels: SELECT receives, INSERT sends, for each `extension`.
    create table realtime.messages (
        topic          text not null,
        extension      text not null,
        payload        jsonb,
        event          text,
        private        boolean default false,
        updated_at     timestamp not null default (now() at time zone 'UTC'),
        inserted_at    timestamp not null default (now() at time zone 'UTC'),
        id             uuid not null default gen_random_uuid() primary key,
        binary_payload bytea
    );
    create index messages_inserted_at on realtime.messages (inserted_at);
    alter table realtime.messages enable row level security;
    create trigger broadcast_message after insert on realtime.messages
        for each row when (new.extension = 'broadcast') execute function realtime_worker.capture_message();
    create trigger broadcast_knock after insert on realtime.messages
        for each statement execute function realtime_worker.knock();

    -- The topic that a policy is asked about.
    create function realtime.topic() returns text
    language sql stable as $$ select nullif(current_setting('realtime.topic', true), '') $$;

    -- Stores a message for the topic's subscribers. Like Supabase's, it never fails the transaction that calls it.
    create function realtime.store_message(id uuid, payload jsonb, binary_payload bytea, event text, topic text, private boolean)
    returns void language plpgsql as $$
    begin
        perform set_config('realtime.topic', topic, true);
        insert into realtime.messages (id, payload, binary_payload, event, topic, private, extension)
        values (id, payload, binary_payload, event, topic, private, 'broadcast');
    exception when others then
        raise warning 'WarnSendingBroadcastMessage: %', sqlerrm;
    end $$;

    create function realtime.send(payload jsonb, event text, topic text, private boolean default true) returns void
    language plpgsql as $$
    declare
        message_id constant uuid := gen_random_uuid();
    begin
        if jsonb_typeof(payload) = 'object' and not payload ? 'id' then
            payload := payload || jsonb_build_object('id', message_id);
        end if;
        perform realtime.store_message(message_id, payload, null, event, topic, private);
    end $$;

    create function realtime.send_binary(payload bytea, event text, topic text, private boolean default true) returns void
    language sql as $$ select realtime.store_message(gen_random_uuid(), null, payload, event, topic, private) $$;

    -- For triggers: `perform realtime.broadcast_changes('room:1', tg_op, tg_op, tg_table_name, tg_table_schema, new, old)`.
    create function realtime.broadcast_changes(topic_name text, event_name text, operation text, table_name text, table_schema text,
        new record, old record, level text default 'ROW') returns void
    language plpgsql as $$
    begin
        if level = 'STATEMENT' then
            raise exception 'broadcast_changes is for triggers FOR EACH ROW';
        end if;
        if operation not in ('INSERT', 'UPDATE', 'DELETE') then
            raise exception 'broadcast_changes knows INSERT, UPDATE and DELETE, not %', operation;
        end if;
        perform realtime.send(jsonb_build_object('old_record', old, 'record', new, 'operation', operation, 'table', table_name,
                                                 'schema', table_schema), event_name, topic_name, true);
    end $$;
end $do$;

create function realtime_worker.owns_realtime() returns boolean
language sql stable set search_path = '' as $$
    select coalesce(obj_description(to_regnamespace('realtime'), 'pg_namespace') like 'Installed by realtime-worker%', false)
$$;

-- Lets Supabase's roles reach the surface, where it is ours; what they see and send is decided by policies.
create function realtime_worker.grant_supabase() returns void
language plpgsql set search_path = '' as $$
declare
    role text;
begin
    if not realtime_worker.owns_realtime() then return; end if;
    for role in select rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated', 'service_role') loop
        execute format('grant usage on schema realtime to %I', role);
        execute format('grant select, insert on realtime.messages to %I', role);
    end loop;
end $$;

-- Deletes messages after 72 hours, as Supabase does: at most every ten minutes, and not all at once.
create function realtime_worker.delete_old_messages() returns void
language plpgsql set search_path = '' as $$
begin
    update realtime_worker.reader set tidied_at = now() where tidied_at < now() - interval '10 minutes';
    if not found or not realtime_worker.owns_realtime() then return; end if;
    delete from realtime.messages where id in (
        select id from realtime.messages where inserted_at < (now() at time zone 'UTC') - interval '72 hours' limit 5000);
end $$;

insert into realtime_worker.version values (9, 'supabase');
