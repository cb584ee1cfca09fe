/**
 * `npx realtime-worker`, in a project that has the package and wrangler.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createHmac } from "node:crypto";
import { join } from "node:path";
import { after, test } from "node:test";
import { parseEnv } from "node:util";
import { connect } from "../../miniflare/client.mjs";
import { serve } from "../../miniflare/serve.mjs";
import { signToken } from "../../miniflare/token.mjs";
import { install, run } from "./package-rig.mjs";

const home = await install();
after(() => home.dispose());

/** Imports in the style of bundlers, which Node does not support. */
const CONFIG = `
import { defineTable } from "realtime-worker/server";
import * as schema from "./schema";

export default {
	name: "its-realtime",
	schema,
	tables: { claims: defineTable({ organization: "orgId", masking: { ssn: { type: "ssn" } } }) },
	channels: [{ topic: "room:*", read: {}, write: {} }],
	relays: { sockets: 1, max: 2 },
};
`;
const SCHEMA = `
import { sqliteTable, text } from "drizzle-orm/sqlite-core";

export const claims = sqliteTable("claims", { id: text().primaryKey(), orgId: text("org_id").notNull(), ssn: text() });
`;
const API = `
import { createRealtime } from "realtime-worker/server";

export default {
	async fetch(request, env) {
		await env.DB.prepare("INSERT INTO claims VALUES (?, 'org_1', NULL)").bind(crypto.randomUUID()).run();
		const outbox = createRealtime(env).outbox(env.DB);
		return Response.json(await outbox.flush().catch((error) => ({ failed: error.message })));
	},
};
`;
const folder = await home.project("api", {
	"package.json": '{ "type": "module" }',
	"realtime.config.ts": CONFIG,
	"schema.ts": SCHEMA,
	"index.js": API,
	"migrations/0000_claims.sql": "CREATE TABLE claims (id TEXT PRIMARY KEY, org_id TEXT NOT NULL, ssn TEXT);\n",
	"wrangler.json": JSON.stringify({
		name: "its-api",
		main: "index.js",
		compatibility_date: "2026-07-30",
		services: [{ binding: "REALTIME", service: "its-realtime" }],
		d1_databases: [{ binding: "DB", database_name: "db", database_id: "db" }],
	}),
});
const cli = (...given) => run(folder, process.execPath, join(home.installed, "bin/realtime-worker.mjs"), ...given);
const wrangler = join(folder, "../node_modules/wrangler/bin/wrangler.js");

test("usage, and what is no command", async () => {
	assert.match(await cli(), /npx realtime-worker <command>/);
	await assert.rejects(cli("deplay"), /no command deplay/);
	await assert.rejects(cli("schema", "--config", "nowhere.ts"), /nowhere\.ts is not there/);
	await assert.rejects(cli("schema", "--migration", "migrations"), /no argument --migration/);
	await assert.rejects(cli("token"), /--user names/);
});

test("token signs with the secret of .dev.vars, which it makes once", async () => {
	const tokens = [await cli("token", "--user", "u7", "--roles", "hr, member"), await cli("token", "--user", "u8", "--organization", "org_2")];
	const { JWT_SECRET, ACCESS_TOKEN } = parseEnv(await readFile(join(folder, ".dev.vars"), "utf8"));
	assert.ok(JWT_SECRET.length >= 32 && ACCESS_TOKEN.length >= 32 && JWT_SECRET !== ACCESS_TOKEN);
	const claims = tokens.map((output) => {
		const [, content, signature] = output.match(/^(eyJ.*)\.(.*)$/m);
		assert.equal(createHmac("sha256", JWT_SECRET).update(content).digest("base64url"), signature);
		return JSON.parse(Buffer.from(content.split(".")[1], "base64url"));
	});
	assert.deepEqual(claims.map(({ sub, roles, organizationId }) => [sub, roles, organizationId]), [["u7", ["hr", "member"], "org_dev"], ["u8", [], "org_2"]]);
});

test("schema writes the next migration once, which wrangler applies; --check tells when there is a newer one", async () => {
	await assert.rejects(cli("schema", "--check", "migrations"), /lacks a migration/);
	assert.match(await cli("schema", "--migrations", "migrations"), /wrote migrations\/0001_realtime\.sql/);
	assert.match(await cli("schema", "--migrations", "migrations"), /up to date/);
	assert.match(await cli("schema", "--check", "migrations"), /up to date/);
	assert.equal(await cli("schema"), await readFile(join(folder, "migrations/0001_realtime.sql"), "utf8"));
	await run(folder, process.execPath, wrangler, "d1", "migrations", "apply", "db", "--local");
	const found = await run(folder, process.execPath, wrangler, "d1", "execute", "db", "--local", "--json", "--command", "SELECT name FROM sqlite_master WHERE type = 'trigger' ORDER BY name");
	const names = JSON.parse(found.slice(found.indexOf("["), found.lastIndexOf("]") + 1))[0].results.map(({ name }) => name);
	assert.deepEqual(names, ["delete", "insert", "move", "update"].map((kind) => `realtime_claims_${kind}`));
});

test("deploy has the Worker with the tables' rules", async () => {
	await cli("deploy", "--dry-run", "--outdir", "out");
	const { name, vars, durable_objects: objects } = JSON.parse(await readFile(join(folder, ".realtime/wrangler.json"), "utf8"));
	assert.equal(name, "its-realtime");
	const sections = { channels: [{ topic: "room:*", read: {}, write: {} }], relays: { sockets: 1, max: 2 } };
	assert.deepEqual(vars.REALTIME, { tables: { claims: { masking: { ssn: { type: "ssn" } } } }, ...sections });
	assert.ok(objects.bindings.some(({ name, class_name: className }) => name === "RELAY" && className === "Relay"));
});

test("dev serves the Worker, whose sockets go to relays where the configuration says so", async (context) => {
	const url = await serve(context, folder, [join(home.installed, "bin/realtime-worker.mjs"), "dev", "--port", "0", "--inspector-port", "0"]);
	const { JWT_SECRET, ACCESS_TOKEN } = parseEnv(await readFile(join(folder, ".dev.vars"), "utf8"));
	const exp = Math.floor(Date.now() / 1_000) + 3_600;
	for (const sub of ["ada", "bob"]) {
		const token = signToken({ sub, organizationId: "org_1", exp }, JWT_SECRET);
		const client = await connect(`${url}/realtime/v1/websocket?organizationId=org_1`, { headers: { authorization: `Bearer ${token}` } });
		assert.equal((await client.next()).type, "auth_success");
		context.after(() => client.close());
	}
	const answer = await fetch(`${url}/realtime/v1/stats?organizationId=org_1`, { headers: { authorization: `Bearer ${ACCESS_TOKEN}` } });
	const { relays } = await answer.json();
	assert.deepEqual(relays.map(({ relay }) => relay), [1]);
});

test("one wrangler runs it beside the API worker, which publishes through the binding what was written", async (context) => {
	const url = await serve(context, folder, [wrangler, "dev", "-c", "wrangler.json", "-c", ".realtime/wrangler.json", "--port", "0", "--inspector-port", "0"]);
	assert.deepEqual(await (await fetch(url)).json(), { published: 1, parked: 0, errors: [], more: false });
});
