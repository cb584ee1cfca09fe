/**
 * `cargo xtask dev` beside `wrangler dev` of an API worker: a service binding finds the Worker of the other process,
 * and reports if it is not running.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ACCESS_TOKEN, start } from "../fixture.mjs";
import { serve } from "../serve.mjs";

const folder = mkdtempSync(join(tmpdir(), "realtime-registry-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const registry = join(folder, "registry");
const wrangler = fileURLToPath(new URL("../node_modules/wrangler/bin/wrangler.js", import.meta.url));

writeFileSync(
	join(folder, "index.js"),
	`export default {
		async fetch(request, env) {
			const body = JSON.stringify({ organizationId: "org_1", type: "broadcast", event: "e", payload: 1 });
			const headers = { authorization: "Bearer " + env.ACCESS_TOKEN, "content-type": "application/json" };
			const answer = await env.REALTIME.fetch("https://realtime/broadcast", { method: "POST", headers, body });
			return new Response(await answer.text(), { status: answer.status });
		},
	};`,
);
const services = [{ binding: "REALTIME", service: "realtime-worker" }];
const config = { name: "api", main: "index.js", compatibility_date: "2026-07-30", services, vars: { ACCESS_TOKEN } };
writeFileSync(join(folder, "wrangler.json"), JSON.stringify(config));

test("the API worker publishes to the Worker of another process, whichever started first, and fails where there is none", async (context) => {
	const given = [wrangler, "dev", "--port", "0", "--inspector-port", "0"];
	const url = await serve(context, folder, given, { WRANGLER_REGISTRY_PATH: registry });
	const alone = await fetch(url);
	assert.ok(alone.status >= 500, `${alone.status}`);
	const server = await start({}, { registry });
	after(() => server.dispose());
	// The registry is polled: nothing else shows when the other process has noticed.
	let answer = await fetch(url);
	for (const end = Date.now() + 30_000; answer.status !== 202 && Date.now() < end; ) answer = await fetch(url);
	assert.equal(answer.status, 202);
	assert.equal((await answer.json()).accepted, 1);
});
