/**
 * Every example of the server's documentation compiles and runs, against the built Worker and a real D1.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ACCESS_TOKEN, join, start, unread } from "../../miniflare/fixture.mjs";
import * as ofD1 from "realtime-worker/d1";
import * as ofDrizzle from "realtime-worker/drizzle";
import * as ofHono from "realtime-worker/hono";
import * as ofTesting from "realtime-worker/testing";
import * as ofView from "realtime-worker/view";
import * as exported from "realtime-worker/server";

const api = { name: "api", modules: true, script: "export default {}", compatibilityDate: "2026-07-30", d1Databases: ["DB"] };
const server = await start({}, { workers: [api] });
after(() => server.dispose());

const sdk = fileURLToPath(new URL("..", import.meta.url));
/** Within the package, so that the examples find it by its name. */
const folder = `${sdk}dist/server-examples/`;
const sources = ["server", "d1", "drizzle", "view", "hono", "testing"].flatMap((part) => readdirSync(`${sdk}src/${part}`).map((name) => `src/${part}/${name}`));
/** The README's blocks for the server name what they import. */
const isServers = (code) => /"realtime-worker\/(server|d1|drizzle|view|hono|testing)"/.test(code);

/** The examples of a file: of the README its code blocks, of a source those of its comments. */
function examplesOf(path) {
	const text = readFileSync(sdk + path, "utf8").replace(/^\s*\* ?/gm, path.endsWith(".md") ? "$&" : "");
	return [...text.matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code).filter(isServers);
}

const examples = [...sources, "README.md"].flatMap((path) =>
	examplesOf(path).map((code, index) => ({ path, name: `${path.replace(/\W/g, "-")}-${index + 1}.ts`, code })),
);

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const configuration = { extends: "../../tsconfig.specs.json", include: ["*.ts", "../../specs/server-examples.d.ts"] };
writeFileSync(`${folder}tsconfig.json`, JSON.stringify(configuration));
for (const { name, code } of examples) writeFileSync(folder + name, `${code}\nexport {};\n`);

const pending = [];
globalThis.orgId = "org_1";
globalThis.ctx = { waitUntil: (promise) => pending.push(promise) };
globalThis.env = {
	REALTIME_URL: server.url,
	ACCESS_TOKEN,
	DB: await server.mf.getD1Database("DB", "api"),
};
for (const sql of `${exported.OUTBOX_TABLE}CREATE TABLE claims (id TEXT, title TEXT, status TEXT)`.split(";\n")) {
	await globalThis.env.DB.prepare(sql).run();
}

test("every public function has an example", () => {
	const methods = ["insert", "update", "delete", "broadcast", "batch", "outbox", "flush"].map((name) => `.${name}(`);
	const all = examples.map(({ code }) => code).join();
	for (const name of [...Object.keys({ ...exported, ...ofD1, ...ofDrizzle, ...ofHono, ...ofTesting, ...ofView }), ...methods]) assert.ok(all.includes(name), name);
});

test("the examples compile", () => {
	const { status, stdout } = spawnSync(`${sdk}node_modules/.bin/tsc`, ["--project", folder]);
	assert.equal(status, 0, `${stdout}`);
});

for (const { path, name, code } of examples) {
	test(`${path}: ${name}`, async (context) => {
		context.mock.method(console, "log", () => {});
		const client = await join(server, "u7", ["admin", "hr", "member"]);
		await import(folder + name);
		await Promise.all(pending.splice(0));
		if (/\.(insert|update|delete|broadcast|batch)\(/.test(code) && !code.includes("createTestServer")) {
			const isRefused = code.includes("catch (error)");
			assert.equal((await unread(client)).length > 0, !isRefused, "something arrives");
		}
		await client.close();
	});
}
