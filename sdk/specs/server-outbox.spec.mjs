/**
 * The outbox against a real D1 and the built Worker: whatever dies at whatever step, nothing is lost or delivered twice.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { after, test } from "node:test";
import { ACCESS_TOKEN, join, start, unread } from "../../miniflare/fixture.mjs";
import { createRealtime, defineRealtime, defineTable, OUTBOX_TABLE } from "realtime-worker/server";

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

/** An organization of its own for each test. */
let organizations = 0;
const nextOrganization = () => `org_outbox_${++organizations}`;
const insertClaim = (id) => db.prepare("INSERT INTO claims (id) VALUES (?)").bind(id);
const idsOf = async (client) => (await unread(client)).map((frame) => frame.new?.id ?? frame.payload);

async function rowsOf(organizationId) {
	const all = db.prepare("SELECT * FROM realtime_outbox WHERE organization_id = ? ORDER BY position");
	return (await all.bind(organizationId).all()).results;
}

const nothing = { published: 0, parked: 0, errors: [], more: false };

test("the row and its publication are committed together, and published after it", async () => {
	const organizationId = nextOrganization();
	const client = await join(server, "ada", ["admin"], { organizationId });
	await db.batch([insertClaim("a1"), outbox.insert("claims", { id: "a1" }, organizationId)]);
	assert.deepEqual(await unread(client), []);
	assert.deepEqual(await outbox.flush(), { ...nothing, published: 1 });
	assert.deepEqual(await idsOf(client), ["a1"]);
	assert.deepEqual(await rowsOf(organizationId), []);
	assert.deepEqual(await outbox.flush(), nothing);
});

test("a transaction that fails publishes nothing", async () => {
	const organizationId = nextOrganization();
	const twice = [insertClaim("b1"), outbox.insert("claims", { id: "b1" }, organizationId), insertClaim("b1")];
	await assert.rejects(db.batch(twice));
	assert.deepEqual(await rowsOf(organizationId), []);
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

test("a flush that dies at any step, before or after it takes effect, loses nothing and delivers once", async () => {
	const crash = new Error("crash");
	let survived = false;
	let steps = 0;
	// Every call of the database and of the Worker is a step.
	for (let fatal = 1; !survived; fatal += 1) {
		for (const when of ["before", "after"]) {
			const organizationId = nextOrganization();
			const client = await join(server, "ada", ["admin"], { organizationId });
			await db.batch([0, 1, 2].map((id) => outbox.insert("claims", { id }, organizationId)));
			let step = 0;
			const mortal = async (effect) => {
				step += 1;
				if (step > fatal || (step === fatal && when === "before")) throw crash;
				const result = await effect();
				if (step === fatal) throw crash;
				return result;
			};
			const d1 = {
				statement: (sql, values) => db.prepare(sql).bind(...values),
				run: async (statement) => (await mortal(() => statement.all())).results,
			};
			// Dying within a request ends the process: it is not tried again.
			const dying = { ...options, retry: { attempts: 1 }, fetch: (url, init) => mortal(() => fetch(url, init)) };
			const dead = await createRealtime(env, dying).outbox(d1).flush().then(
				() => false,
				(error) => error === crash || error.cause === crash,
			);
			survived = !dead;
			steps = Math.max(steps, step);
			await outbox.flush({ organizationId });
			assert.deepEqual(await idsOf(client), [0, 1, 2], `${when} step ${fatal}`);
			assert.deepEqual(await rowsOf(organizationId), [], `${when} step ${fatal}`);
			await client.close();
		}
	}
	// The organizations, their rows, the publication, the deletion.
	assert.equal(steps, 4);
});

test("more than a batch goes in order, and flushes at the same time do no harm", async () => {
	const organizationId = nextOrganization();
	const client = await join(server, "ada", ["admin"], { organizationId });
	const ids = Array.from({ length: 250 }, (_, id) => id);
	await db.batch(ids.map((id) => outbox.insert("claims", { id }, organizationId)));
	const first = await outbox.flush({ organizationId, batches: 1 });
	assert.deepEqual(first, { ...nothing, published: 100, more: true });
	await Promise.all([outbox.flush(), outbox.flush({ organizationId }), createRealtime(env).outbox(db).flush()]);
	assert.deepEqual(await idsOf(client), ids);
	assert.deepEqual(await rowsOf(organizationId), []);
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

test("a message that the Worker refuses is parked with the reason; the others go on", async () => {
	const [organizationId, other] = [nextOrganization(), nextOrganization()];
	const client = await join(server, "ada", ["admin"], { organizationId });
	const poison = [
		outbox.broadcast("", 1, organizationId),
		outbox.insert("claims", {}, organizationId, { maskingConfig: { a: { type: "blur" } } }),
		outbox.broadcast("large", "x".repeat(600_000), organizationId),
		outbox.broadcast("large too", "x".repeat(600_000), organizationId),
		outbox.broadcast("too large", "x".repeat(1 << 20), organizationId),
	];
	for (const [index, statement] of poison.entries()) {
		await db.batch([outbox.broadcast("good", index, organizationId), statement]);
	}
	await outbox.broadcast("nowhere", 1, "no organization").run();
	await outbox.broadcast("good", 1, other).run();
	const torn = db.prepare("UPDATE realtime_outbox SET message = '{' WHERE organization_id = ? AND message LIKE '%\"\"%'");
	await torn.bind(organizationId).run();

	const report = await outbox.flush();
	assert.deepEqual(report, { ...nothing, published: 8, parked: 4 });
	const seen = (await unread(client)).map((frame) => (frame.event === "good" ? frame.payload : frame.event));
	assert.deepEqual(seen, [0, 1, 2, "large", 3, "large too", 4]);
	const errors = (await rowsOf(organizationId)).map((row) => row.error);
	assert.equal(errors.length, 3);
	assert.match(errors[0], /^invalid_request: messages\[\d+\] /);
	assert.match(errors[1], /^unknown_mask_type: .*maskingConfig\.a\.type/);
	assert.match(errors[2], /^payload_too_large: /);
	assert.match((await rowsOf("no organization"))[0].error, /^invalid_request: organizationId /);
	assert.deepEqual(await outbox.flush(), nothing);
	await db.prepare("DELETE FROM realtime_outbox").run();
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
