//! A table, its owner, and a reader for two users: the setup of most tests of the judge.

use serde_json::Value;

use crate::{Client, Group, Reader, Seen, Server};

/// The first user.
pub const A: &str = "00000000-0000-4000-8000-00000000000a";
/// The second user.
pub const B: &str = "00000000-0000-4000-8000-00000000000b";

/// The owner of a database with an enabled table, and a reader for two users and the roles `anon` and `service_role`.
#[must_use]
pub fn start(table: &str, setup: &str) -> (Client, Reader) {
    let database = Server::shared().database();
    let mut owner = database.owner();
    owner.batch_execute(setup).unwrap();
    enable(&mut owner, table);
    let mut reader = database.reader();
    listen(&mut reader, table);
    (owner, reader)
}

fn enable(owner: &mut Client, table: &str) -> Value {
    owner.query_one("select realtime_worker.enable_realtime('public', $1)", &[&table]).unwrap().get(0)
}

fn listen(reader: &mut Reader, table: &str) -> Value {
    let groups = [
        Group::user("a", "authenticated", A),
        Group::user("b", "authenticated", B),
        Group::role("anon"),
        Group::role("service_role"),
    ];
    reader.register(&groups, &[("public", table)])
}

/// The operation of each change, and who sees its new and its old image.
#[must_use]
pub fn told(changes: &[Seen]) -> Vec<(&str, Vec<&str>, Vec<&str>)> {
    changes.iter().map(|change| (change.op(), change.sees_new(), change.sees_old())).collect()
}

/// Notes in rooms, which the members of a room see; `secret` is granted to `service_role` only.
pub const ROOMS: &str = "
    create table rooms (id int primary key);
    create table members (room int references rooms on delete cascade, usr uuid, primary key (room, usr));
    create table notes (id int primary key, room int references rooms on delete cascade, body text, secret text);
    alter table notes enable row level security;
    grant select on members to authenticated;
    grant select (id, room, body) on notes to authenticated;
    grant select on notes to service_role;
    create policy m on notes for select to authenticated
        using (exists (select from members where members.room = notes.room and members.usr = auth.uid()));
    insert into rooms values (1), (2);
    insert into members values (1, '00000000-0000-4000-8000-00000000000a'), (2, '00000000-0000-4000-8000-00000000000b');";
