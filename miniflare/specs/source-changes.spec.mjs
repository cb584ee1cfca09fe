/**
 * Changes of a real PostgreSQL: a statement's rows reach those whom row-level security lets see them, and nobody else.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { join, subscribe, unread } from "../fixture.mjs";
import { Database, reader } from "../source.mjs";
import { Tenant } from "../supabase.mjs";

const database = await Database.start();
const server = await database.serve();
after(async () => {
	await server.dispose();
	await database.dispose();
});

const reads = (user) => reader(server, user);

test("a row reaches its owner, not another user", async () => {
	const [ada, bob] = [await reads("ada"), await reads("bob")];
	await database.sql("insert into messages (owner, body) values ('ada', 'for ada'), ('bob', 'for bob')");
	const frame = await ada.next();
	assert.deepEqual([frame.type, frame.schema, frame.table, frame.eventType], ["postgres_changes", "public", "messages", "INSERT"]);
	assert.deepEqual([frame.new.owner, frame.new.body], ["ada", "for ada"]);
	assert.equal((await bob.next()).new.body, "for bob");
	assert.deepEqual([await unread(ada), await unread(bob)], [[], []]);
});

test("a row that changes hands leaves one and comes to the other", async () => {
	const [ada, bob] = [await reads("ada"), await reads("bob")];
	await database.sql("insert into messages (owner, body) values ('ada', 'mine')");
	const { new: row } = await ada.next();
	await database.sql(`update messages set owner = 'bob' where id = ${row.id}`);
	assert.equal((await ada.next()).eventType, "DELETE");
	const came = await bob.next();
	assert.deepEqual([came.eventType, came.new.owner], ["INSERT", "bob"]);
});

test("a transaction that is rolled back is told to nobody, the next one is", async () => {
	const ada = await reads("ada");
	await database.sql("begin; insert into messages (owner, body) values ('ada', 'never'); rollback");
	await database.sql("insert into messages (owner, body) values ('ada', 'always')");
	assert.equal((await ada.next()).new.body, "always");
});

test("many changes come once and in order", async () => {
	const ada = await reads("ada");
	await database.sql("insert into messages (owner, body) select 'ada', n::text from generate_series(1, 700) n");
	const bodies = [];
	while (bodies.length < 700) bodies.push((await ada.next()).new.body);
	assert.deepEqual(bodies, Array.from({ length: 700 }, (_, index) => String(index + 1)));
	assert.deepEqual(await unread(ada), []);
});

test("a client of Supabase gets what its user may see", async () => {
	const tenant = new Tenant(server);
	tenant.organizationId = "org_1";
	const handlers = [["postgres_changes", { event: "*", schema: "public", table: "messages" }, "messages"], ["system", {}]];
	const open = async (user) => {
		const room = await tenant.person(user, { roles: ["authenticated"] }).room("db", { on: handlers }).join();
		const { payload } = await room.next(({ handler }) => handler === "system");
		assert.equal(payload.message, "Subscribed to PostgreSQL");
		return room;
	};
	const [ada, bob] = [await open("ada"), await open("bob")];
	await database.sql("insert into messages (owner, body) values ('bob', 'for bob')");
	const { payload } = await bob.next(({ handler }) => handler === "messages");
	assert.deepEqual([payload.eventType, payload.new.owner, payload.new.body], ["INSERT", "bob", "for bob"]);
	assert.deepEqual(await ada.unread(), []);
	await tenant.close();
});

test("what realtime.send put into a private topic is replayed to a client of Supabase that joins later", async () => {
	await database.sql("create policy board on realtime.messages for select to authenticated using (realtime.topic() = 'board')");
	const since = Date.now() - 1_000;
	const ada = await join(server, "ada", ["authenticated"]);
	assert.equal((await subscribe(ada, "b", { topic: "board" })).type, "subscribed");
	for (const n of [1, 2]) {
		await database.sql(`select realtime.send('{"n": ${n}}', 'count', 'board')`);
		assert.equal((await ada.next()).payload.n, n);
	}
	const tenant = new Tenant(server);
	tenant.organizationId = "org_1";
	const replay = (topic) => {
		const config = { private: true, broadcast: { replay: { since } } };
		return tenant.person("bob", { roles: ["authenticated"] }).room(topic, { config });
	};
	const room = await replay("board").join();
	const replayed = (await room.unread()).map(({ payload: { payload, meta } }) => [payload.n, meta]);
	const ids = JSON.parse(await database.sql("select json_agg(id order by payload ->> 'n') from realtime.messages"));
	assert.deepEqual(replayed, [1, 2].map((n) => [n, { id: ids[n - 1], replayed: true }]));
	await assert.rejects(replay("elsewhere").join(), /permissions/);
	await tenant.close();
});

test("a table that is not enabled, and one that is not there, are refused", async () => {
	const ada = await join(server, "ada", ["authenticated"]);
	assert.equal((await subscribe(ada, "a", { table: "plain" })).code, "table_not_enabled");
	assert.equal((await subscribe(ada, "b", { table: "nowhere" })).code, "unknown_table");
});

test("names with quotes and capitals, rows of 3 MB and a policy that raises stop nothing else", async () => {
	await database.sql(`
		create table "Odd ""Name""" (id int primary key, "Body Text" text, divisor int);
		grant select on "Odd ""Name""" to authenticated;
		alter table "Odd ""Name""" enable row level security;
		create policy raises on "Odd ""Name""" for select to authenticated using (1 / divisor = 1);
		select realtime_worker.enable_realtime('public', 'Odd "Name"');`);
	const ada = await join(server, "ada", ["authenticated"]);
	assert.equal((await subscribe(ada, "odd", { table: 'Odd "Name"' })).type, "subscribed");
	await database.sql(`insert into "Odd ""Name""" values (1, 'no', 0), (2, repeat('x', 3000000), 1), (3, 'yes', 1)`);
	const large = await ada.next(({ type }) => type === "postgres_changes");
	assert.deepEqual([large.new.id, large.new["Body Text"]], [2, undefined]);
	const small = await ada.next(({ type }) => type === "postgres_changes");
	assert.deepEqual([small.new.id, small.new["Body Text"]], [3, "yes"]);
	assert.deepEqual(await unread(ada), []);
});
