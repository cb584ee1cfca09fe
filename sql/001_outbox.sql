-- Version 1: the outbox, its reader, and the triggers that fill it. Run all files in one transaction, in order:
--   psql --single-transaction -v ON_ERROR_STOP=1 -f sql/001_outbox.sql -f sql/002_policies.sql …
-- or `cargo xtask database install`, which skips what is there already.
select pg_advisory_xact_lock(7261401);

create schema realtime_worker;
revoke all on schema realtime_worker from public;
comment on schema realtime_worker is 'Captures committed rows for realtime-worker and judges who may see them.';

create table realtime_worker.version (
    number       int primary key,
    name         text not null,
    installed_at timestamptz not null default now()
);

-- What is to be captured. Names and identity: a table that is dropped and made again keeps its entry, a renamed one too.
create table realtime_worker.tables (
    schema_name         text not null,
    table_name          text not null,
    rel                 regclass not null unique,
    events              text[] not null,
    exclude             text[] not null,
    organization_column text,
    enabled_by          text not null check (enabled_by in ('call', 'publication')),
    created_at          timestamptz not null default now(),
    updated_at          timestamptz not null default now(),
    primary key (schema_name, table_name)
);

-- `rel` is a regclass and not an oid, so that a dump names the table and a restore finds it.
create table realtime_worker.changes (
    id               bigint generated always as identity primary key,
    xid              xid8 not null default pg_current_xact_id(),
    at               timestamptz not null default now(),
    operation        text not null,              -- INSERT, UPDATE, DELETE, TRUNCATE, MESSAGE
    rel              regclass,
    organization     text,
    old_organization text,
    new              json,
    old              json,
    bytes            int not null
);
create index changes_of_transaction on realtime_worker.changes (xid, id);
-- Every row is inserted and deleted once; the default thresholds would let the dead ones pile up.
alter table realtime_worker.changes set (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_threshold = -1);

-- A batch that was fixed and not yet confirmed: at most one.
create table realtime_worker.batches (
    id       bigint generated always as identity primary key,
    changes  bigint[] not null,
    fixed_at timestamptz not null default clock_timestamp()
);

-- One row. `awake_until` only grows: a writer with an old snapshot errs towards knocking.
create table realtime_worker.reader (
    one           boolean primary key default true check (one),
    awake_until   timestamptz not null default '-infinity',
    capture_until timestamptz not null default now() + interval '1 day',
    retain        interval not null default '1 day',
    generation    int not null default 1,        -- grows when capture had stopped: what happened meanwhile is lost
    cut_xid       xid8,                          -- the transaction that the last batch cut; its rest comes first
    second        timestamptz not null default '-infinity',
    batches       int not null default 0,        -- batches in that second
    tidied_at     timestamptz not null default now(),
    control_plane boolean not null default false, -- whether the reader may enable and disable tables
    search_path   text not null default 'public, extensions, pg_temp'
) with (fillfactor = 10);
insert into realtime_worker.reader default values;

-- Who listens. Logged: behind a pool, the reader does not see that the server crashed.
create table realtime_worker.groups (
    organization text not null,
    id           text not null,
    role         text not null,
    claims       text not null,
    primary key (organization, id)
);
create table realtime_worker.interest (
    organization text not null,
    group_id     text not null,
    schema_name  text not null,                  -- '*': every schema
    table_name   text not null,                  -- '*': every table
    primary key (organization, group_id, schema_name, table_name),
    foreign key (organization, group_id) references realtime_worker.groups on delete cascade
);
create table realtime_worker.organizations (
    organization text primary key,
    revision     bigint not null
);

-- Capture: AFTER ROW. Arguments: 'self' or 'root' (of a partition tree), the organization column or '', excluded columns.
-- The settings fix how values are written, whatever the writer's session has: an interval, a range of times or a float
-- would not be read back as the same value otherwise.
create function realtime_worker.capture() returns trigger
language plpgsql security definer
set search_path = '' set timezone = 'UTC' set datestyle = 'ISO' set intervalstyle = 'postgres'
set extra_float_digits = 1 set bytea_output = 'hex'
as $$
declare
    new_image json; old_image json; new_organization text; old_organization text;
begin
    if tg_op in ('INSERT', 'UPDATE') then new_image := row_to_json(new); end if;
    if tg_op in ('UPDATE', 'DELETE') then old_image := row_to_json(old); end if;
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

-- An image without some of its columns, in the order of the table.
create function realtime_worker.without(image json, excluded text[]) returns json
language sql immutable strict set search_path = '' as $$
    select coalesce(json_object_agg(key, value), '{}')
      from json_each(image) where key <> all (excluded)
$$;

-- Knock: AFTER STATEMENT, hence after the rows are in the outbox and the outbox is locked, which is what `take` looks at
-- before it lets the reader sleep. NOTIFY serializes commits, so it is sent only while the reader sleeps.
create function realtime_worker.knock() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if exists (select from realtime_worker.reader
                where awake_until <= clock_timestamp() and capture_until > now()) then
        perform pg_notify('realtime_worker', '');
    end if;
    return null;
end $$;

insert into realtime_worker.version values (1, 'outbox');
