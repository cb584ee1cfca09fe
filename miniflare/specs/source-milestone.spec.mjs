/**
 * What an earlier project listed as the tests of its realtime milestone, under their original names: the newest
 * supabase-js and a native client against a real PostgreSQL, to which `psql` writes.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect } from "../client.mjs";
import { subscribe, unread } from "../fixture.mjs";
import { Database, reader } from "../source.mjs";
import { CLIENTS, Tenant, anonKey } from "../supabase.mjs";

const ADMIN = { user: "postgres", database: "postgres" };
/** A lost feed is back within this time, in milliseconds. */
const MAX_WAIT = 5_000;
const database = await Database.start();
await database.sql(`
	create table posts (id bigint generated always as identity primary key, user_id int, likes int8, tags jsonb, price numeric);
	create table users (id int primary key, name text);
	create table secrets (id int primary key);
	grant select on posts, users to authenticated;
	select realtime_worker.enable_realtime('public', name) from unnest('{posts,users,secrets}'::text[]) name;`);
const server = await database.serve();
const tenant = new Tenant(server, CLIENTS.at(-1));
tenant.organizationId = "org_1";
after(async () => {
	await tenant.close();
	await server.dispose();
	await database.dispose();
});

let rooms = 0;

/** A channel of supabase-js with one binding, whose result has arrived. */
async function open(filter, user = "ada") {
	const on = [["postgres_changes", { event: "*", schema: "public", ...filter }, "change"], ["system", {}]];
	const room = await tenant.person(user, { roles: ["authenticated"] }).room(`db-${(rooms += 1)}`, { on }).join();
	room.answer = await told(room);
	return room;
}

const told = async (room) => (await room.next(({ handler }) => handler === "system")).payload;
const change = async (room) => (await room.next(({ handler }) => handler === "change")).payload;
const isLive = ({ status, message }) => status === "ok" && message === "Subscribed to PostgreSQL";

test("full round trip; test_postgres_payload_deserialize; test_column_info_mapping", async () => {
	const room = await open({ event: "INSERT", table: "posts" });
	const native = await reader(server, "ada");
	await subscribe(native, "p", { table: "posts" });
	await database.sql(`insert into posts (user_id, likes, tags, price) values (7, 9007199254740991, '{"a": [1]}', 1.50)`);
	const payload = await change(room);
	assert.deepEqual([payload.schema, payload.table, payload.eventType, payload.old, payload.errors], ["public", "posts", "INSERT", {}, null]);
	assert.ok(Date.parse(payload.commit_timestamp) > 0);
	const { user_id, likes, tags, price } = payload.new;
	assert.deepEqual({ user_id, likes, tags, price }, { user_id: 7, likes: 9007199254740991, tags: { a: [1] }, price: 1.5 });
	const frame = await native.next(({ type }) => type === "postgres_changes");
	assert.deepEqual([frame.eventType, frame.new.user_id, frame.new.tags], ["INSERT", 7, { a: [1] }]);
});

test("test_per_table_channel_isolation", async () => {
	const [posts, users] = [await open({ table: "posts" }), await open({ table: "users" })];
	await database.sql("insert into posts (user_id) values (1)");
	assert.equal((await change(posts)).table, "posts");
	assert.deepEqual(await users.unread(), []);
});

test("test_authorize_subscription_allowed", async () => {
	assert.ok(isLive((await open({ table: "users" })).answer));
});

test("test_authorize_subscription_denied", async () => {
	const { answer } = await open({ table: "secrets" });
	assert.deepEqual([answer.status, answer.extension], ["error", "postgres_changes"]);
	const native = await reader(server, "ada");
	assert.equal((await subscribe(native, "s", { table: "secrets" })).code, "table_denied");
});

test("test_event_type_filter", async () => {
	const room = await open({ event: "INSERT", table: "users" });
	await database.sql("insert into users values (1, 'one'); update users set name = 'uno'; delete from users; insert into users values (2, 'two')");
	assert.deepEqual([(await change(room)).new.id, (await change(room)).new.id], [1, 2]);
	assert.deepEqual(await room.unread(), []);
});

test("test_row_level_filter", async () => {
	const room = await open({ table: "posts", filter: "user_id=eq.123" });
	await database.sql("insert into posts (user_id) values (122), (123), (124)");
	assert.equal((await change(room)).new.user_id, 123);
	assert.deepEqual(await room.unread(), []);
});

test("test_broadcast_delivery; test_broadcast_no_cross_topic_leak", async () => {
	const [ann, ben, other] = ["ann", "ben", "cho"].map((user) => tenant.person(user, { roles: ["authenticated"] }));
	const said = [ann.room("a"), ben.room("a"), other.room("b")];
	for (const room of said) await room.join();
	await said[0].send("hello", { x: 1 });
	assert.deepEqual(await said[1].heard(), ["hello", { x: 1 }]);
	assert.deepEqual(await said[2].unread(), []);
});

test("test_presence_join; test_presence_leave; test_presence_key_format_consistency", async () => {
	const on = ["sync", "join", "leave"].map((event) => ["presence", { event }, event]);
	const [ann, ben] = ["ann", "ben"].map((user) => tenant.person(user, { roles: ["authenticated"] }));
	const [left, stays] = [ann, ben].map((person, index) => person.room("desk", { config: { presence: { key: ["ann", "ben"][index] } }, on }));
	await stays.join();
	await left.join();
	await left.channel.track({ at: "desk" });
	await stays.shows({ ann: [{ at: "desk" }] });
	await left.leave();
	await stays.shows({});
	const keys = stays.events.items.filter(({ handler }) => handler !== "sync").map(({ handler, payload }) => `${handler} ${payload.key}`);
	assert.deepEqual(keys, ["join ann", "leave ann"]);
});

test("test_replication_listener_retry", async () => {
	const room = await open({ table: "posts" });
	const native = await reader(server, "ada");
	await database.postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'realtime_worker_reader'", ADMIN);
	const began = Date.now();
	await database.sql("insert into posts (user_id) values (55); insert into messages (owner, body) values ('ada', 'meanwhile')");
	assert.equal((await told(room)).status, "error");
	assert.ok(isLive(await told(room)));
	assert.equal((await change(room)).new.user_id, 55);
	assert.deepEqual(await native.next(({ type }) => type === "feed"), { type: "feed", status: "lost" });
	assert.deepEqual(await native.next(({ type }) => type === "feed"), { type: "feed", status: "live" });
	assert.equal((await native.next()).new.body, "meanwhile");
	assert.ok(Date.now() - began < MAX_WAIT, `${Date.now() - began} ms`);
	assert.deepEqual(await unread(native), []);
});

test("test_phoenix_message_format; connection to /realtime/v1/websocket", async () => {
	const client = await connect(`${server.url}/realtime/v1/websocket?vsn=2.0.0&apikey=${anonKey("org_1")}`);
	client.send(JSON.stringify(["1", "2", "realtime:room", "phx_join", { config: {} }]));
	const [joinReference, reference, topic, event, payload] = await client.next();
	assert.deepEqual([joinReference, reference, topic, event, payload.status], ["1", "2", "realtime:room", "phx_reply", "ok"]);
	await client.close();
});
