/**
 * The Rust crate's outbox inside an API worker (`sdk/rust/api`), with a real D1 and the built Worker: whatever crashes
 * at whatever step, nothing is lost or delivered twice.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ACCESS_TOKEN, join, start, unread } from "../../miniflare/fixture.mjs";
import { createRealtime, OUTBOX_TABLE } from "realtime-worker/server";
import { idsOf, mortality, nothing, tableIn, testPromises } from "./server-outbox-rig.mjs";

const build = fileURLToPath(new URL("../rust/api/build/", import.meta.url));
/** The API worker with bindings that crash at the step that a request names. */
const MORTAL = `
	import api from "./index.js";
	${mortality}
	export default {
		async fetch(request, env, context) {
			const fatal = Number(request.headers.get("x-fatal"));
			const { mortal, steps } = mortality(fatal, request.headers.get("x-when"));
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
			const answer = await api.fetch(request, { ...env, ...(fatal ? { DB, REALTIME } : {}) }, context);
			return new Response(answer.body, { headers: { "x-steps": String(steps()) } });
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

async function flush(organizationId) {
	const { steps: _, ...report } = await call("GET", organizationId);
	return report;
}

/** Changes rows in one transaction with their publications. */
async function commit(organizationId, changes) {
	const { code } = await call("POST", organizationId, { changes });
	if (code !== undefined) throw new Error(code);
}

const table = tableIn(db);
const { nextOrganization, rowsOf } = table;

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

test("every function gives a statement", async () => {
	const organizationId = nextOrganization();
	const client = await join(server, "ada", ["admin"], { organizationId });
	await commit(organizationId, { opened: ["e1"], closed: ["e1"], removed: ["e1"], events: ["paid"] });
	assert.equal((await rowsOf(organizationId)).length, 4);
	assert.deepEqual(await flush(), { ...nothing, published: 4 });
	const seen = (await unread(client)).map(({ eventType, event, new: row, old }) => ({ kind: eventType ?? event, row, old }));
	const [open, closed] = [{ id: "e1", open: true }, { id: "e1", open: false }];
	assert.deepEqual(seen, [
		{ kind: "INSERT", row: open, old: null },
		{ kind: "UPDATE", row: closed, old: open },
		{ kind: "DELETE", row: null, old: closed },
		{ kind: "paid", row: undefined, old: undefined },
	]);
	await client.close();
});

testPromises(server, db, table, {
	commit: (organizationId, ids) => commit(organizationId, { opened: ids }),
	flush,
	async die(fatal, when) {
		const { code, steps } = await call("GET", "", { headers: { "x-fatal": String(fatal), "x-when": when } });
		return { died: code !== undefined, steps };
	},
});
