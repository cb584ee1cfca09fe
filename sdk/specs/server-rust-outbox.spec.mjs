/**
 * The Rust crate's outbox inside an API worker (`sdk/rust/api`), against a real D1 and the built Worker: whatever dies at
 * whatever step, nothing is lost or delivered twice.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ACCESS_TOKEN, join, start, unread } from "../../miniflare/fixture.mjs";
import { createRealtime, OUTBOX_TABLE } from "realtime-worker/server";

const build = fileURLToPath(new URL("../rust/api/build/", import.meta.url));
/** The API worker on bindings that die at the step that a request names. Each call of the database or the Worker is one. */
const MORTAL = `
	import Api from "./index.js";
	export default {
		async fetch(request, env, context) {
			const [fatal, when] = [Number(request.headers.get("x-fatal")), request.headers.get("x-when")];
			let step = 0;
			const mortal = async (effect) => {
				step += 1;
				if (fatal && (step > fatal || (step === fatal && when === "before"))) throw new Error("crash");
				const result = await effect();
				if (step === fatal) throw new Error("crash");
				return result;
			};
			const watch = (object, calls) =>
				new Proxy(object, {
					get(_, name) {
						const value = object[name];
						if (typeof value !== "function" || name === "constructor") return value;
						return calls[name] ? (...values) => calls[name](value.bind(object), ...values) : value.bind(object);
					},
				});
			const statement = (one) =>
				watch(one, { bind: (bind, ...values) => statement(bind(...values)), all: (all) => mortal(all) });
			const DB = watch(env.DB, { prepare: (prepare, sql) => statement(prepare(sql)) });
			const REALTIME = watch(env.REALTIME, { fetch: (fetch, ...values) => mortal(() => fetch(...values)) });
			const answer = await new Api(context, { ...env, ...(fatal ? { DB, REALTIME } : {}) }).fetch(request);
			return new Response(answer.body, { headers: { "x-steps": String(step) } });
		},
	};`;
const api = {
	name: "api",
	modulesRoot: build,
	modules: [
		{ type: "ESModule", path: `${build}mortal.js`, contents: MORTAL },
		{ type: "ESModule", path: `${build}index.js`, contents: readFileSync(`${build}index.js`, "utf8") },
		{ type: "CompiledWasm", path: `${build}index_bg.wasm`, contents: readFileSync(`${build}index_bg.wasm`) },
	],
	compatibilityDate: "2026-07-30",
	bindings: { ACCESS_TOKEN },
	serviceBindings: { REALTIME: "realtime-worker" },
	d1Databases: ["DB"],
};
const server = await start({}, { workers: [api] });
after(() => server.dispose());
const db = await server.mf.getD1Database("DB", "api");
const worker = await server.mf.getWorker("api");

async function call(method, organizationId = "", { changes, headers } = {}) {
	const init = { method, headers, body: changes && JSON.stringify(changes) };
	const response = await worker.fetch(`https://api.example.com/outbox/${organizationId}`, init);
	return { ...(await response.json()), steps: Number(response.headers.get("x-steps")) };
}

const commit = (organizationId, changes) => call("POST", organizationId, { changes });
async function flush(organizationId, headers) {
	const { steps: _, ...report } = await call("GET", organizationId, { headers });
	return report;
}

/** An organization of its own for each test. */
let organizations = 0;
const nextOrganization = () => `org_rust_${++organizations}`;

async function rowsOf(organizationId) {
	const all = db.prepare("SELECT * FROM realtime_outbox WHERE organization_id = ? ORDER BY position");
	return (await all.bind(organizationId).all()).results;
}

const nothing = { published: 0, parked: 0, errors: [], more: false };
const idsOf = async (client) => (await unread(client)).map((frame) => (frame.new ?? frame.old)?.id ?? frame.event);

await call("PUT");

test("the table is the TypeScript package's, and either flushes what the other has written", async () => {
	const source = readFileSync(new URL("../rust/src/outbox.rs", import.meta.url), "utf8");
	assert.ok(source.includes(OUTBOX_TABLE));
	const organizationId = nextOrganization();
	const client = await join(server, "ada", ["admin"], { organizationId });
	const typescript = createRealtime({ REALTIME_URL: server.url, ACCESS_TOKEN }).outbox(db);
	await typescript.insert("claims", { id: "t1" }, organizationId).run();
	assert.deepEqual(await flush(organizationId), { ...nothing, published: 1 });
	await commit(organizationId, { opened: ["t2"] });
	assert.deepEqual(await typescript.flush({ organizationId }), { ...nothing, published: 1 });
	assert.deepEqual(await idsOf(client), ["t1", "t2"]);
	await client.close();
});

test("rows and their publications are committed together, and published after it", async () => {
	const organizationId = nextOrganization();
	const client = await join(server, "ada", ["admin"], { organizationId });
	await commit(organizationId, { opened: ["a1"], closed: ["a1"], removed: ["a1"], events: ["paid"] });
	assert.deepEqual(await unread(client), []);
	assert.deepEqual(await flush(), { ...nothing, published: 4 });
	const seen = (await unread(client)).map(({ eventType, event, new: row, old }) => ({ kind: eventType ?? event, row, old }));
	const [open, closed] = [{ id: "a1", open: true }, { id: "a1", open: false }];
	assert.deepEqual(seen, [
		{ kind: "INSERT", row: open, old: null },
		{ kind: "UPDATE", row: closed, old: open },
		{ kind: "DELETE", row: null, old: closed },
		{ kind: "paid", row: undefined, old: undefined },
	]);
	assert.deepEqual(await rowsOf(organizationId), []);
	assert.deepEqual(await flush(), nothing);
	await client.close();
});

test("a transaction that fails publishes nothing", async () => {
	const organizationId = nextOrganization();
	assert.equal((await commit(organizationId, { opened: ["b1", "b1"] })).code, "database");
	assert.deepEqual(await rowsOf(organizationId), []);
	assert.equal(await db.prepare("SELECT * FROM claims WHERE id = 'b1'").first(), null);
});

test("a flush that dies at any step, before or after it takes effect, loses nothing and delivers once", async () => {
	let survived = false;
	let steps = 0;
	for (let fatal = 1; !survived; fatal += 1) {
		for (const when of ["before", "after"]) {
			const organizationId = nextOrganization();
			const client = await join(server, "ada", ["admin"], { organizationId });
			const ids = [0, 1, 2].map((n) => `${organizationId}-${n}`);
			await commit(organizationId, { opened: ids });
			const dying = await call("GET", "", { headers: { "x-fatal": String(fatal), "x-when": when } });
			survived = dying.code === undefined;
			steps = survived ? dying.steps : steps;
			await flush(organizationId);
			assert.deepEqual(await idsOf(client), ids, `${when} step ${fatal}`);
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
	const ids = Array.from({ length: 250 }, (_, n) => `${organizationId}-${n}`);
	await commit(organizationId, { opened: ids });
	await Promise.all([flush(), flush(organizationId), flush(organizationId)]);
	assert.deepEqual(await idsOf(client), ids);
	assert.deepEqual(await rowsOf(organizationId), []);
	await client.close();
});

test("a message that the Worker refuses is parked with the reason; the others go on", async () => {
	const organizationId = nextOrganization();
	const client = await join(server, "ada", ["admin"], { organizationId });
	await commit(organizationId, { events: ["one", "", "two", "torn", "three"] });
	await commit("no%20organization", { events: ["nowhere"] });
	await db.prepare("UPDATE realtime_outbox SET message = '{' WHERE message LIKE '%\"torn\"%'").run();
	assert.deepEqual(await flush(), { ...nothing, published: 3, parked: 3 });
	assert.deepEqual(await idsOf(client), ["one", "two", "three"]);
	for (const { error } of await rowsOf(organizationId)) assert.match(error, /^invalid_request: messages\[\d+\]/);
	assert.equal((await rowsOf(organizationId)).length, 2);
	assert.match((await rowsOf("no%20organization"))[0].error, /^invalid_request: organizationId /);
	assert.deepEqual(await flush(), nothing);
	await client.close();
});

test("messages that are too large together are published apart", async () => {
	const organizationId = nextOrganization();
	const client = await join(server, "ada", ["admin"], { organizationId });
	const typescript = createRealtime({ REALTIME_URL: server.url, ACCESS_TOKEN }).outbox(db);
	for (const n of [0, 1, 2]) await typescript.insert("claims", { id: n, text: "x".repeat(600_000) }, organizationId).run();
	assert.deepEqual(await flush(organizationId), { ...nothing, published: 3 });
	assert.deepEqual(await idsOf(client), [0, 1, 2]);
	await client.close();
});
