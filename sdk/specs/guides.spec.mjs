/**
 * The guides in docs/guides/: their code is what runs. A block that names a file is that file.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile, realpath, symlink } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, test } from "node:test";
import { Window } from "happy-dom";
import { ACCESS_TOKEN, JWT_SECRET, now, start } from "../../miniflare/fixture.mjs";
import { serve } from "../../miniflare/serve.mjs";
import { signToken } from "../../miniflare/token.mjs";
import { until } from "./client-rig.mjs";
import { checkout, install, program, run } from "./package-rig.mjs";

const home = await install();
after(() => home.dispose());

/** The blocks of a guide that name a file. */
async function blocksOf(guide) {
	const text = await readFile(`${checkout}docs/guides/${guide}.md`, "utf8");
	return [...text.matchAll(/^```\w+ (\S+)\n(.*?)^```/gms)].map(([, path, code]) => ({ path, code }));
}

/** A project of a guide's files. */
const projectOf = async (guide, more = {}) =>
	home.project(guide, { "package.json": '{ "type": "module" }', ...Object.fromEntries((await blocksOf(guide)).map(({ path, code }) => [path, code])), ...more });

const TYPES = ["--ignoreConfig", "--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler", "--allowImportingTsExtensions"];

test("Better Auth, Hono and D1: every block is a part of the project that create.spec.mjs runs", async () => {
	const blocks = await blocksOf("better-auth-hono-d1");
	assert.ok(blocks.length >= 7);
	for (const { path, code } of blocks) {
		const file = await readFile(`${checkout}create/template/${path}`, "utf8");
		assert.ok(file.includes(code), `${path} has not:\n${code}`);
	}
});

test("plain SQL: what is written streams as it is queried, masked", async (context) => {
	const folder = await projectOf("plain-sql");
	const wrangler = join(folder, "../node_modules/wrangler/bin/wrangler.js");
	const cli = join(home.installed, "bin/realtime-worker.mjs");
	await run(folder, program("tsc"), ...TYPES, "--lib", "es2023,dom", "--types", "", "src/index.ts");
	await run(folder, process.execPath, cli, "schema", "--migrations", "migrations");
	await run(folder, process.execPath, wrangler, "d1", "migrations", "apply", "DB", "--local");
	await run(folder, process.execPath, cli, "config");
	const url = await serve(context, folder, [wrangler, "dev", "-c", "wrangler.json", "-c", ".realtime/wrangler.json", "--port", "0", "--inspector-port", "0"]);
	for (const [user, ssn] of [["mel", "*****6789"], ["ada", "123-45-6789"]]) {
		const output = await run(folder, process.execPath, "listen.mjs", url, user);
		const [streamed, queried] = ["streamed", "queried"].map((word) => JSON.parse(output.match(new RegExp(`^${word} (.*)$`, "m"))[1]));
		assert.deepEqual(streamed, queried);
		assert.deepEqual([streamed.id, streamed.ssn, streamed.isOpen, typeof streamed.createdAt], [user, ssn, true, "string"]);
	}
});

test("Next.js: routes, view and component work together", async (context) => {
	const folder = await projectOf("nextjs", { "entry.ts": 'export * from "./app/claims";\nexport * as claims from "./app/api/claims/route";\nexport * as token from "./app/api/realtime/route";\n' });
	const globals = 'declare const process: { env: Record<string, string | undefined> };\n';
	await home.project("nextjs", { "globals.d.ts": globals });
	await run(folder, program("tsc"), ...TYPES, "--jsx", "react-jsx", "--lib", "es2023,dom,dom.iterable", "--types", "react", "entry.ts", "globals.d.ts");
	// Approximately as Next.js compiles it; the page and its server are one program here.
	await run(folder, `${checkout}miniflare/node_modules/.bin/esbuild`, "entry.ts", "--bundle", "--packages=external", "--format=esm", "--jsx=automatic", "--outfile=entry.mjs");
	const server = await start();
	context.after(() => server.dispose());
	const window = new Window();
	const { fetch } = globalThis;
	const routes = {};
	Object.assign(process.env, { REALTIME_URL: server.url, NEXT_PUBLIC_REALTIME_URL: server.url, ACCESS_TOKEN, JWT_SECRET });
	Object.assign(globalThis, {
		window,
		document: window.document,
		addEventListener: window.addEventListener.bind(window),
		removeEventListener: window.removeEventListener.bind(window),
		fetch: (url, init) => (routes[url] ? routes[url][init?.method ?? "GET"](new Request(`http://next.test${url}`, init)) : fetch(url, init)),
	});
	context.after(() => Object.assign(globalThis, { fetch }));
	const { Claims, claims, client, token } = await import(join(folder, "entry.mjs"));
	Object.assign(routes, { "/api/claims": claims, "/api/realtime": token });
	context.after(() => client.close());
	const { createElement } = await import("react");
	const { createRoot } = await import("react-dom/client");
	const page = window.document.createElement("div");
	const root = createRoot(page);
	root.render(createElement(Claims));
	await until(() => page.querySelector("section")?.getAttribute("data-status") === "live");
	page.querySelector("button").click();
	await until(() => page.textContent.includes("Another *****6789"));
	assert.equal((await claims.POST(new Request("http://next.test/api/claims", { method: "POST" }))).status, 401);
	assert.equal((await token.POST(new Request("http://next.test/api/realtime", { method: "POST" }))).status, 401);
	root.unmount();
});

test("Supabase: what an edge function writes reaches Supabase's own client, masked for its role", async (context) => {
	const folder = await projectOf("supabase");
	await symlink(await realpath(`${checkout}miniflare/node_modules/@supabase`), join(folder, "../node_modules/@supabase"));
	await run(folder, program("tsc"), ...TYPES, "--lib", "es2023,dom,dom.iterable", "--types", "", "page.ts", "supabase/functions/claims/index.ts");
	for (const [entry, file] of [["page.ts", "page.mjs"], ["supabase/functions/claims/index.ts", "function.mjs"], ["realtime.config.ts", "config.mjs"]]) {
		await run(folder, `${checkout}miniflare/node_modules/.bin/esbuild`, entry, "--bundle", "--packages=external", "--format=esm", `--outfile=${file}`);
	}
	const { default: config } = await import(join(folder, "config.mjs"));
	const server = await start({ tables: config.tables }, { vars: config.vars });
	const listeners = [];
	// In this order: a client whose server is gone keeps reconnecting, and so keeps this process alive.
	context.after(async () => {
		await Promise.all(listeners.map(({ close }) => close()));
		await server.dispose();
	});
	// PostgREST, as far as one insert needs it.
	const rest = createServer(async (request, response) => {
		const chunks = await request.toArray();
		response.setHeader("content-type", "application/json").end(JSON.stringify({ ...JSON.parse(Buffer.concat(chunks)), id: "c1" }));
	});
	await once(rest.listen(0, "127.0.0.1"), "listening");
	context.after(() => rest.close());
	const variables = { SUPABASE_URL: `http://127.0.0.1:${rest.address().port}`, SUPABASE_ANON_KEY: "anon", REALTIME_URL: server.url, ACCESS_TOKEN };
	const served = Promise.withResolvers();
	globalThis.Deno = { env: { get: (name) => variables[name] }, serve: served.resolve };
	context.after(() => delete globalThis.Deno);
	await import(join(folder, "function.mjs"));
	const { listen } = await import(join(folder, "page.mjs"));

	const exp = now() + 3_600;
	const anonKey = signToken({ role: "anon", ref: "abcdefgh", exp }, JWT_SECRET);
	const user = signToken({ role: "authenticated", sub: "u7", exp }, JWT_SECRET);
	const shown = [null, user].map((userToken) => {
		const claim = Promise.withResolvers();
		const listener = listen(server.url, anonKey, userToken, claim.resolve);
		listeners.push(listener);
		return { ready: listener.ready, claim: claim.promise };
	});
	await Promise.all(shown.map(({ ready }) => ready));
	const handler = await served.promise;
	const request = new Request("http://functions.test", { method: "POST", headers: { Authorization: "Bearer user" }, body: JSON.stringify({ title: "First", phone: "(555) 123-4567" }) });
	assert.equal((await handler(request)).status, 200);
	const seen = await Promise.all(shown.map(({ claim }) => claim));
	assert.deepEqual(seen.map(({ phone }) => phone), ["******4567", "(555) 123-4567"]);
});
