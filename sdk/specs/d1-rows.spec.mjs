/**
 * What triggers write into the outbox: each row as the API would serve it, and never at the expense of the
 * application's write.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { eq } from "drizzle-orm";
import { triggers } from "realtime-worker/d1";
import { kinds, schema, tables } from "./d1-schema.mjs";
import { startD1, take } from "./d1-rig.mjs";

const { server, db, orm } = await startD1();
after(() => server.dispose());

const run = (sql, ...values) => db.prepare(sql).bind(...values).run();
/** The answer of an API. */
const served = (value) => JSON.parse(JSON.stringify(value));

/** Values of every kind, ordinary and extreme. */
const samples = {
	text: ["", "it's", 'a "quote" \\ and\n\u0001 control', "\u{1f980} \u00e9", "null", "9e999", "Inf", null],
	json: [{ a: [1, { b: null }], "it's": "\"" }, [], "text", 1.5, true, null],
	flag: [true, false, null],
	at: [new Date(0), new Date(1_700_000_000_000), new Date(-86_400_000), new Date("9999-12-31T23:59:59Z"), null],
	atMs: [new Date(1_700_000_000_123), new Date(59_999), new Date(-1), new Date("9999-12-31T23:59:59.999Z"), null],
	number: [0, -1.5, 0.1, 1e-7, 123_456_789.123, 1e15, null],
	decimal: ["12", "0.25", "-7.5", null],
	decimalNumber: [12, 0.25, null],
	blobJson: [{ a: 1 }, [null], null],
	more19: ["the last of many", null],
	"it's a \u00e9 key": ["value", null],
};

test("a row is what the API would serve of it", async () => {
	const count = Math.max(...Object.values(samples).map((values) => values.length));
	for (let round = 0; round < count; round += 1) {
		const values = Object.entries(samples).map(([key, all]) => [key, all[round % all.length]]);
		const [row] = await orm.insert(kinds).values({ orgId: "org_1", ...Object.fromEntries(values) }).returning();
		const [message, ...others] = await take(db);
		assert.deepEqual(others, []);
		assert.deepEqual(message.new, served(row));
		assert.deepEqual(Object.keys(message.new), Object.keys(served(row)), "in the order of the schema");
	}
});

test("times are exact to the millisecond", async () => {
	const times = Array.from({ length: 80 }, () => new Date(Math.floor((Math.random() * 2 - 0.5) * 4e12)));
	// A statement of D1 has at most 100 values.
	for (const start of [0, 40]) await orm.insert(kinds).values(times.slice(start, start + 40).map((atMs) => ({ orgId: "org_1", atMs })));
	assert.deepEqual((await take(db)).map((message) => message.new.atMs), served(times));
});

test("whatever a column holds, the write succeeds, and what JSON cannot say is null", async () => {
	const hostile = ["x'00ff'", "9e999", "-9e999", "-9223372036854775808", "'{torn'", "CURRENT_TIMESTAMP", "1.5", "'\ufffd'"];
	const columns = ["text", "json", "flag", "at", "at_ms", "number", "decimal", "blobJson"];
	for (const value of hostile) {
		await run(`INSERT INTO "all kinds" (org_id, ${columns}) VALUES ('org_1', ${columns.map(() => value)})`);
		const [{ new: row }] = await take(db);
		if (value === "x'00ff'") assert.deepEqual([row.text, row.json, row.at, row.number], [null, null, null, null]);
		if (value === "9e999") assert.equal(row.number, null);
		if (value === "'{torn'") assert.deepEqual([row.text, row.json, row.blobJson], ["{torn", null, null]);
		if (value === "CURRENT_TIMESTAMP") assert.deepEqual([row.at, row.atMs], [null, null]);
	}
});

test("an event has the rows before and after, the rules of its table, and an id of its own", async () => {
	await orm.insert(schema.members).values([{ orgId: "org_1", userId: "u1", role: "a" }, { orgId: "org_1", userId: "u2" }]);
	await orm.update(schema.members).set({ role: "b" }).where(eq(schema.members.userId, "u1"));
	await orm.delete(schema.members).where(eq(schema.members.userId, "u1"));
	const { results } = await db.prepare("SELECT id, message FROM realtime_outbox").all();
	for (const { id, message } of results) assert.equal(JSON.parse(message).id, id);
	assert.equal(new Set(results.map(({ id }) => id)).size, 4);
	const events = await take(db);
	const common = { organizationId: "org_1", type: "postgres_changes", schema: "hr", table: "members", targetRoles: ["admin"] };
	const row = (role) => ({ orgId: "org_1", userId: "u1", role });
	assert.deepEqual(events.map(({ id, ...event }) => event).toSpliced(1, 1), [
		{ ...common, eventType: "INSERT", new: row("a"), old: null },
		{ ...common, eventType: "UPDATE", new: row("b"), old: row("a") },
		{ ...common, eventType: "DELETE", new: null, old: row("b") },
	]);
});

test("a row that moves is deleted in one organization and inserted in the other; one of none is told to nobody", async () => {
	const summary = async () => (await take(db)).map((event) => [event.organizationId, event.eventType, (event.new ?? event.old).id]);
	await run("INSERT INTO claims (id, org_id) VALUES ('m1', 'org_1')");
	await run("UPDATE claims SET org_id = 'org_2' WHERE id = 'm1'");
	await run("UPDATE claims SET id = 'm2' WHERE id = 'm1'");
	await run("UPDATE claims SET org_id = NULL WHERE id = 'm2'");
	await run("UPDATE claims SET title = 'nobody' WHERE id = 'm2'");
	await run("UPDATE claims SET org_id = 'org_1' WHERE id = 'm2'");
	await run("INSERT OR REPLACE INTO claims (id, org_id) VALUES ('m2', 'org_1')");
	await run("INSERT OR IGNORE INTO claims (id, org_id) VALUES ('m2', 'org_1')");
	await run("INSERT INTO claims (id, org_id) VALUES ('m2', 'org_1') ON CONFLICT DO UPDATE SET title = 'upserted'");
	await run("DELETE FROM claims");
	assert.deepEqual(await summary(), [
		["org_1", "INSERT", "m1"],
		["org_1", "DELETE", "m1"],
		["org_2", "INSERT", "m1"],
		["org_2", "DELETE", "m1"],
		["org_2", "INSERT", "m2"],
		["org_2", "DELETE", "m2"],
		["org_1", "INSERT", "m2"],
		["org_1", "INSERT", "m2"],
		["org_1", "UPDATE", "m2"],
		["org_1", "DELETE", "m2"],
	]);
});

test("a transaction that fails writes no event", async () => {
	const failing = db.batch([db.prepare("INSERT INTO claims (id, org_id) VALUES ('f1', 'org_1')"), db.prepare("INSERT INTO projects (id) VALUES ('f1')")]);
	await assert.rejects(failing);
	assert.deepEqual(await take(db), []);
});

test("the last event about a row is the row, though triggers of the application change it too", async () => {
	for (const when of ["aaa", "zzz"]) {
		// SQLite guarantees no order of triggers: one is created before ours and one after.
		await run(`CREATE TRIGGER ${when} AFTER UPDATE OF title ON claims BEGIN UPDATE claims SET version = version + 1 WHERE id = NEW.id; END`);
	}
	await run("INSERT INTO claims (id, org_id) VALUES ('t1', 'org_1')");
	await run("UPDATE claims SET title = 'once' WHERE id = 't1'");
	const last = (await take(db)).at(-1);
	assert.deepEqual([last.new.title, last.new.version], ["once", 2]);
});

test("what cannot be made is said when the triggers are", () => {
	const claims = { columns: { id: "value", org: "value" } };
	const make = (table, options) => () => triggers({ tables: { claims: table }, schema: { claims }, ...options });
	assert.throws(make({}), /claims has no `organization`/);
	assert.throws(make({ organization: "tenant" }), /claims has no column tenant/);
	assert.throws(make({ organization: "org" }, { schema: {} }), /claims is not in the schema/);
	assert.throws(make({ organization: "org" }, { schema: { claims: { columns: { org: "value" } } } }), /claims has no column id/);
	assert.throws(make({ organization: "org" }, { schema: { claims: { columns: { id: "value", 'a"': "value", org: "value" } } } }), /no path/);
	assert.match(make({}, { organizationId: "it's one" })().sql, /'it''s one'/);
	const silent = make({ organization: "org", enabled: false })();
	assert.deepEqual(silent.triggers, {});
	assert.match(silent.sql, /DROP TRIGGER IF EXISTS "realtime_claims_insert"/);
	assert.ok(Object.keys(triggers({ tables, schema }).triggers).every((name) => name !== "realtime_projects_insert"));
});
