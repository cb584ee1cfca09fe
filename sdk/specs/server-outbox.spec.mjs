/**
 * The outbox with a real D1 and the built Worker: whatever crashes at whatever step, nothing is lost or delivered
 * twice.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { after, test } from "node:test";
import { ACCESS_TOKEN, join, start, unread } from "../../miniflare/fixture.mjs";
import { createRealtime, defineRealtime, defineTable, OUTBOX_TABLE } from "realtime-worker/server";
import { idsOf, mortality, nothing, tableIn, testPromises } from "./server-outbox-rig.mjs";

const api = { name: "api", modules: true, script: "export default {}", compatibilityDate: "2026-07-30", d1Databases: ["DB"] };
const server = await start({}, { workers: [api] });
after(() => server.dispose());

const db = await server.mf.getD1Database("DB", "api");
for (const statement of `${OUTBOX_TABLE}CREATE TABLE claims (id TEXT PRIMARY KEY);`.split(";\n")) {
	if (statement.trim()) await db.prepare(statement).run();
}

const env = { REALTIME_URL: server.url, ACCESS_TOKEN };
const options = {
	tables: { claims: defineTable(), secrets: defineTable({ enabled: false }) },
	namespaces: [defineRealtime({ name: "extraction", events: ["started"] })],
	retry: { delay: 1 },
};
const realtime = createRealtime(env, options);
const outbox = realtime.outbox(db);

const table = tableIn(db);
const { nextOrganization, rowsOf } = table;

testPromises(server, db, table, {
	commit(organizationId, ids) {
		const insertClaim = db.prepare("INSERT INTO claims (id) VALUES (?)");
		return db.batch(ids.flatMap((id) => [insertClaim.bind(id), outbox.insert("claims", { id }, organizationId)]));
	},
	flush: (organizationId) => outbox.flush({ organizationId }),
	async die(fatal, when) {
		const { mortal, steps } = mortality(fatal, when);
		const d1 = {
			statement: (sql, values) => db.prepare(sql).bind(...values),
			run: async (statement) => (await mortal(() => statement.all())).results,
		};
		// A crash within a request ends the process, so there is no retry.
		const dying = { ...options, retry: { attempts: 1 }, fetch: (url, init) => mortal(() => fetch(url, init)) };
		const error = await createRealtime(env, dying).outbox(d1).flush().then(() => {}, (reason) => reason);
		if (error) assert.match(`${error} ${error.cause}`, /crash/);
		return { died: error !== undefined, steps: steps() };
	},
});

test("every function gives a statement, with its rules applied", async () => {
	const organizationId = nextOrganization();
	const [ada, mel] = await Promise.all(["ada", "mel"].map((user) => join(server, user, [], { organizationId })));
	await db.batch([
		outbox.insert("claims", { id: 1, name: "Grace" }, organizationId, { maskingConfig: { name: { type: "name" } } }),
		outbox.update("claims", { id: 1 }, null, organizationId, { userId: "ada" }),
		outbox.insert("secrets", { id: 2 }, organizationId),
		outbox.delete("claims", { id: 1 }, organizationId),
		outbox.broadcast("paid", 7, organizationId, { id: "once" }),
		outbox.broadcast("paid", 7, organizationId, { id: "once" }),
		outbox.extraction.started({ materialId: 1 }, organizationId, { userId: "mel" }),
	]);
	assert.equal((await rowsOf(organizationId)).length, 5);
	assert.deepEqual(await outbox.flush({ organizationId }), { ...nothing, published: 5 });
	const seen = async (client) => (await unread(client)).map((frame) => frame.eventType ?? frame.event);
	assert.deepEqual(await seen(ada), ["INSERT", "UPDATE", "DELETE", "paid"]);
	assert.deepEqual(await seen(mel), ["INSERT", "DELETE", "paid", "extraction:started"]);
});

test("a flush stops after as many batches as it may", async () => {
	const organizationId = nextOrganization();
	const client = await join(server, "ada", ["admin"], { organizationId });
	const ids = Array.from({ length: 150 }, (_, id) => id);
	await db.batch(ids.map((id) => outbox.insert("claims", { id }, organizationId)));
	assert.deepEqual(await outbox.flush({ organizationId, batches: 1 }), { ...nothing, published: 100, more: true });
	assert.deepEqual(await outbox.flush({ organizationId, batches: 1 }), { ...nothing, published: 50 });
	assert.deepEqual(await idsOf(client), ids);
});

test("an organization with much to say does not keep the others waiting", async () => {
	const [busy, quiet] = [nextOrganization(), nextOrganization()];
	const client = await join(server, "ada", ["admin"], { organizationId: quiet });
	await db.batch(Array.from({ length: 150 }, (_, id) => outbox.insert("claims", { id }, busy)));
	await outbox.insert("claims", { id: "q" }, quiet).run();
	assert.deepEqual(await outbox.flush({ batches: 2 }), { ...nothing, published: 101, more: true });
	assert.deepEqual(await idsOf(client), ["q"]);
	assert.deepEqual(await outbox.flush(), { ...nothing, published: 50 });
});

test("what fails for one organization stays for later; what fails for all is thrown", async () => {
	const [limited, other] = [nextOrganization(), nextOrganization()];
	await db.batch([outbox.broadcast("e", 1, limited), outbox.broadcast("e", 1, other)]);
	const overloaded = { error: { code: "overloaded", message: "later" } };
	const picky = (url, init) =>
		init.body.includes(limited) ? Promise.resolve(Response.json(overloaded, { status: 503 })) : fetch(url, init);
	const report = await createRealtime(env, { ...options, fetch: picky }).outbox(db).flush();
	assert.deepEqual({ ...report, errors: report.errors.map(({ code }) => code) }, { ...nothing, published: 1, errors: ["overloaded"] });
	const stranger = createRealtime({ ...env, ACCESS_TOKEN: "a-wrong-access-token" }, options).outbox(db);
	await assert.rejects(stranger.flush(), { code: "unauthorized" });
	const unconnected = createRealtime({ ...env, REALTIME_URL: "http://127.0.0.1:1" }, options).outbox(db);
	await assert.rejects(unconnected.flush(), { code: "network" });
	// The answer of wrangler's proxy for a Worker that is not running.
	const absent = { ...options, fetch: async () => new Response("no such worker", { status: 503 }) };
	await assert.rejects(createRealtime(env, absent).outbox(db).flush(), { code: "unexpected_answer", status: 503 });
	await assert.rejects(outbox.flush({ signal: AbortSignal.abort(new Error("enough")) }), /enough/);
	assert.equal((await rowsOf(limited)).length, 1);
	assert.deepEqual(await outbox.flush(), { ...nothing, published: 1 });
});

test("any SQL database will do", async () => {
	const organizationId = nextOrganization();
	const client = await join(server, "ada", ["admin"], { organizationId });
	const database = new DatabaseSync(":memory:");
	database.exec(OUTBOX_TABLE);
	const sqlite = realtime.outbox({
		statement: (sql, values) => () => database.prepare(sql).all(...values),
		run: async (statement) => statement(),
	});
	database.exec("BEGIN");
	sqlite.insert("claims", { id: "s1" }, organizationId)();
	database.exec("COMMIT");
	database.exec("BEGIN");
	sqlite.insert("claims", { id: "s2" }, organizationId)();
	database.exec("ROLLBACK");
	assert.deepEqual(await sqlite.flush(), { ...nothing, published: 1 });
	assert.deepEqual(await idsOf(client), ["s1"]);
});
