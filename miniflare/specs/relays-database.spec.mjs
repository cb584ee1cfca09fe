/**
 * A database beside relays: a row reaches whoever its policies let see it, whichever object their socket is at, asleep or not.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { join, stats, subscribe, unread } from "../fixture.mjs";
import { Database, reader, until } from "../source.mjs";
import { Tenant } from "../supabase.mjs";

const SHARE = 2;
const RELAYS = 2;
/** In turn, so that both have sockets at the organization's own object and at each relay. */
const USERS = ["ada", "bob", "ada", "bob", "ada", "bob"];

const database = await Database.start();
const server = await database.serve({}, { realtime: { relays: { sockets: SHARE, max: RELAYS } } });
after(async () => {
	await server.dispose();
	await database.dispose();
});

const insert = (owner, body) => database.sql(`insert into messages (owner, body) values ('${owner}', '${body}')`);
const isChange = ({ type }) => type === "postgres_changes";

/** Readers at every object, by the name of their user. */
async function spread() {
	const readers = [];
	for (const user of USERS) readers.push({ user, client: await reader(server, user) });
	const { relays } = await stats(server);
	assert.deepEqual(relays.map(({ relay }) => relay), [1, 2], JSON.stringify(relays));
	return readers;
}

async function close(readers, left = 0) {
	await Promise.all(readers.map(({ client }) => client.close()));
	await until(async () => (await stats(server)).connections, (count) => count === left);
}

async function sleepAll() {
	for (let relay = 1; relay <= RELAYS; relay += 1) await server.evictRelay("org_1", relay, "hibernate");
	await server.evict("org_1", "hibernate");
}

test("a row reaches its owner at every object, once and in order, and nobody else", async () => {
	const readers = await spread();
	assert.equal((await stats(server)).database.groups, 2, "a group at several objects is judged for once");
	await database.sql("insert into messages (owner, body) select case n % 2 when 0 then 'ada' else 'bob' end, n::text from generate_series(1, 300) n");
	for (const { user, client } of readers) {
		const expected = Array.from({ length: 150 }, (_, index) => String(2 * index + (user === "ada" ? 2 : 1)));
		const bodies = [];
		while (bodies.length < expected.length) bodies.push((await client.next(isChange)).new.body);
		assert.deepEqual(bodies, expected);
	}
	await database.sql("update messages set owner = 'bob' where body = '2'");
	for (const { user, client } of readers) {
		assert.equal((await client.next(isChange)).eventType, user === "ada" ? "DELETE" : "INSERT");
		assert.deepEqual(await unread(client), []);
	}
	await close(readers);
});

test("objects that sleep are woken by a row, and know whom it is for", async () => {
	const readers = await spread();
	for (const owner of ["ada", "bob"]) {
		await sleepAll();
		await insert(owner, `for ${owner}`);
		for (const { user, client } of readers) if (user === owner) assert.equal((await client.next(isChange)).new.body, `for ${owner}`);
	}
	for (const { client } of readers) assert.deepEqual(await unread(client), []);
	await close(readers);
});

test("what was missed while a relay was gone is judged under the policies of now", async () => {
	const readers = await spread();
	const client = await join(server, "bob", ["authenticated"], { recover: true });
	const { epoch, offset } = client.welcome;
	for (let relay = 1; relay <= RELAYS; relay += 1) await server.evictRelay("org_1", relay, "close");
	await client.closed;
	await insert("bob", "kept");
	await insert("bob", "withdrawn");
	await database.sql("create policy withdrawn on messages as restrictive for select to authenticated using (body <> 'withdrawn')");
	await insert("bob", "the last");
	const subscriptions = [{ id: "m", table: "messages" }];
	const again = await join(server, "bob", ["authenticated"], { recover: { epoch, offset }, subscriptions });
	assert.equal(again.welcome.recovered, true);
	assert.deepEqual([(await again.next(isChange)).new.body, (await again.next(isChange)).new.body], ["kept", "the last"]);
	assert.deepEqual((await unread(again)).filter(isChange), []);
	await database.sql("drop policy withdrawn on messages");
	await close([{ client: again }, ...readers]);
});

test("Supabase's clients at relays are told that they are live, and when the database is lost and back", async () => {
	const tenant = new Tenant(server);
	tenant.organizationId = "org_1";
	const handlers = [["postgres_changes", { event: "*", schema: "public", table: "messages" }, "messages"], ["system", {}]];
	const rooms = [];
	for (const [number, user] of USERS.entries()) {
		const room = await tenant.person(user, { roles: ["authenticated"] }).room(`db-${number}`, { on: handlers }).join();
		const { payload } = await room.next(({ handler }) => handler === "system");
		assert.equal(payload.message, "Subscribed to PostgreSQL");
		rooms.push({ user, room });
	}
	const native = await reader(server, "ada");
	await database.postgres.stop("SIGQUIT");
	assert.equal((await native.next(({ type }) => type === "feed")).status, "lost");
	await database.postgres.run();
	assert.equal((await native.next(({ type }) => type === "feed")).status, "live");
	await insert("bob", "after the crash");
	for (const { user, room } of rooms) {
		if (user === "bob") assert.equal((await room.next(({ handler }) => handler === "messages")).payload.new.body, "after the crash");
	}
	assert.deepEqual((await unread(native)).filter(isChange), []);
	await tenant.close();
	await native.close();
});

test("the last listener gone anywhere, the connection to the database is closed", async () => {
	const readers = await spread();
	assert.equal(await database.connections(), 1);
	await close(readers.slice(0, -1), 1);
	await insert("bob", "to the last");
	assert.equal((await readers.at(-1).client.next(({ new: row }) => row?.body === "to the last")).new.owner, "bob");
	await readers.at(-1).client.close();
	await until(() => database.connections(), (count) => count === 0);
});
