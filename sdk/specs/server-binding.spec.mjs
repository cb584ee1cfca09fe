/**
 * The package inside an API worker: through a service binding, at an address, and with an outbox in its D1.
 */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ACCESS_TOKEN, join, start, unread } from "../../miniflare/fixture.mjs";

const { buildSync } = createRequire(new URL("../../miniflare/package.json", import.meta.url))("esbuild");

/** What an API worker does with the package. */
const SOURCE = `
import { createRealtime, defineRealtime, OUTBOX_TABLE } from "realtime-worker/server";

const extraction = defineRealtime({ name: "extraction", events: ["started"] });

export default {
	async fetch(request, env, ctx) {
		const { pathname } = new URL(request.url);
		const url = request.headers.get("realtime-url");
		const realtime = createRealtime(url ? { ...env, REALTIME: undefined, REALTIME_URL: url } : env, { namespaces: [extraction] });
		if (pathname === "/publish") {
			const receipt = await realtime.insert("claims", { id: "c1" }, "org_1");
			await realtime.extraction.started({ materialId: "m1" }, "org_1");
			return Response.json(receipt);
		}
		if (pathname === "/refused") {
			return realtime.broadcast("", 1, "org_1").catch(({ code, status, field }) => Response.json({ code, status, field }));
		}
		for (const sql of OUTBOX_TABLE.split(";\\n").filter(Boolean)) await env.DB.prepare(sql).run();
		const outbox = realtime.outbox(env.DB);
		await env.DB.batch([outbox.insert("claims", { id: "c2" }, "org_1")]);
		ctx.waitUntil(outbox.flush({ organizationId: "org_1" }));
		return new Response("written");
	},
};
`;

const sdk = fileURLToPath(new URL("..", import.meta.url));
const { outputFiles } = buildSync({
	stdin: { contents: SOURCE, resolveDir: sdk },
	bundle: true,
	format: "esm",
	write: false,
});
const api = {
	name: "api",
	modules: true,
	script: outputFiles[0].text,
	compatibilityDate: "2026-07-30",
	serviceBindings: { REALTIME: "realtime-worker" },
	bindings: { ACCESS_TOKEN },
	d1Databases: ["DB"],
};
const server = await start({}, { workers: [api] });
after(() => server.dispose());

const { fetch: call } = await server.mf.getWorker("api");

for (const [name, headers] of [
	["a service binding", {}],
	["an address", { "realtime-url": server.url }],
]) {
	test(`an API worker publishes through ${name}`, async () => {
		const client = await join(server, "ada");
		const receipt = await (await call("https://api/publish", { headers })).json();
		assert.deepEqual([receipt.accepted, receipt.delivered], [1, 1]);
		assert.deepEqual(await unread(client), [
			{ type: "postgres_changes", table: "claims", schema: "public", eventType: "INSERT", new: { id: "c1" }, old: null },
			{ type: "broadcast", event: "extraction:started", payload: { materialId: "m1" } },
		]);
		const error = await (await call("https://api/refused", { headers })).json();
		assert.deepEqual(error, { code: "invalid_request", status: 400, field: "event" });
		await client.close();
	});
}

test("an API worker writes its outbox, and publishes it after its response", async () => {
	const client = await join(server, "ada");
	const response = await call("https://api/outbox");
	assert.equal(await response.text(), "written");
	assert.deepEqual((await client.next()).new, { id: "c2" });
});
