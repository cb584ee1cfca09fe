/**
 * The package, packed from the files of a clean clone: it is complete, and works in every kind of project that it
 * supports.
 */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { Miniflare } from "../../miniflare/node_modules/miniflare/dist/src/index.js";
import { ACCESS_TOKEN, JWT_SECRET, tokenOf } from "../../miniflare/fixture.mjs";
import { checkout, install, program, run } from "./package-rig.mjs";

const home = await install();
after(() => home.dispose());

const manifest = JSON.parse(await readFile(join(home.installed, "package.json"), "utf8"));
const entries = Object.keys(manifest.exports).filter((name) => name !== "./package.json").map((name) => name.replace(".", "realtime-worker"));

test("everything is in it, and nothing else", async () => {
	const names = (await readdir(home.installed, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
	const paths = names.map((entry) => join(entry.parentPath, entry.name).slice(home.installed.length + 1));
	for (const path of ["README.md", "CLIENT.md", "MIGRATING.md", "LICENSE-MIT", "LICENSE-APACHE", "dist/worker/index_bg.wasm", ...Object.values(manifest.bin)]) {
		assert.ok(paths.includes(path), path);
	}
	for (const path of paths) assert.match(path, /^(bin|dist)\/|^[A-Z-]+(\.md)?$|^package\.json$/);
	assert.ok(manifest.engines.node && !manifest.private && !manifest.dependencies);
});

test("publint and attw find nothing wrong", async () => {
	const found = await run(home.installed, program("publint"), home.tarball, "--strict");
	assert.match(found, /All good/);
	await run(home.installed, program("attw"), home.tarball, "--profile", "esm-only");
});

test("every entry type-checks, by the rules of Node and of bundlers", async () => {
	const uses = entries.map((name, index) => `import * as entry${index} from "${name}";\nexport const used${index}: object = entry${index};`).join("\n");
	const folder = await home.project("types", { "index.ts": uses });
	const common = ["--ignoreConfig", "--noEmit", "--strict", "--exactOptionalPropertyTypes", "--target", "es2022", "--lib", "es2023,dom", "--types", "", "index.ts"];
	// Drizzle's own declarations need those of every database.
	for (const [module, resolution] of [["nodenext", "nodenext"], ["esnext", "bundler"]]) {
		await run(folder, program("tsc"), "--skipLibCheck", "--module", module, "--moduleResolution", resolution, ...common);
	}
});

/** Publishes a row and waits for it; runs in Node, Deno and Bun. */
const EXCHANGE = `
import { createClient } from "realtime-worker/client";
import { createRealtime } from "realtime-worker/server";

const { url, token, accessToken } = JSON.parse(globalThis.process.env.EXCHANGE);
const client = createClient(url, { organizationId: "org_1", token });
const realtime = createRealtime({ REALTIME_URL: url, ACCESS_TOKEN: accessToken });
const claim = { id: "c1", ssn: "123-45-6789" };
const publish = () => realtime.insert("claims", claim, "org_1", { maskingConfig: { ssn: { type: "ssn" } } });
const arrived = new Promise((resolve, reject) => {
	client.on("claims", "INSERT", ({ new: claim }) => resolve(claim)).ready.then(publish).catch(reject);
});
console.log(JSON.stringify(await arrived));
client.close();
`;

test("a Worker without Rust exports its classes; Node, Deno and Bun talk through it", async (context) => {
	const runtime = JSON.parse(await readFile(join(home.installed, "dist/worker/runtime.json"), "utf8"));
	const classes = runtime.durable_objects.bindings.map(({ name, class_name: className }) => [name, { className, useSQLite: true }]);
	const folder = await home.project("worker", {
		"index.ts": `
			import realtime from "realtime-worker/worker";
			export * from "realtime-worker/worker";
			export default {
				fetch(request: Request, env: unknown, context: unknown) {
					return new URL(request.url).pathname === "/mine" ? new Response("mine") : realtime.fetch(request, env, context);
				},
			};`,
		"wrangler.json": JSON.stringify({
			name: "mine",
			main: "index.ts",
			...runtime,
		}),
		"exchange.mjs": EXCHANGE,
	});
	await run(folder, join(folder, "../node_modules/wrangler/bin/wrangler.js"), "deploy", "--dry-run", "--outdir", "out");
	const built = await readdir(join(folder, "out"));
	const modules = built.filter((name) => /\.(js|wasm)$/.test(name)).sort((one, other) => Number(other.endsWith("index.js")) - Number(one.endsWith("index.js")));
	const miniflare = new Miniflare({
		cf: false,
		handleStructuredLogs: () => {},
		workers: [{
			name: "mine",
			compatibilityDate: runtime.compatibility_date,
			compatibilityFlags: runtime.compatibility_flags,
			modulesRoot: join(folder, "out"),
			modules: modules.map((name) => ({ type: name.endsWith(".js") ? "ESModule" : "CompiledWasm", path: join(folder, "out", name) })),
			durableObjects: Object.fromEntries(classes),
			bindings: { ACCESS_TOKEN, JWT_SECRET },
		}],
	});
	context.after(() => miniflare.dispose());
	const { origin: url } = await miniflare.ready;
	assert.equal(await (await fetch(`${url}/mine`)).text(), "mine");
	process.env.EXCHANGE = JSON.stringify({ url, token: tokenOf("ada"), accessToken: ACCESS_TOKEN });
	const runtimes = [[process.execPath], [program("deno"), "run", "--allow-all", "--no-remote", "--node-modules-dir=manual"], [program("bun"), "run"]];
	for (const [runtime, ...flags] of runtimes) {
		const output = await run(folder, runtime, ...flags, "exchange.mjs");
		assert.deepEqual(JSON.parse(output.trim().split("\n").at(-1)), { id: "c1", ssn: "*****6789" }, runtime);
	}
});

test("a page of Vite has the client and the hooks, and nothing of the server", async () => {
	const folder = await home.project("page", {
		"index.html": '<div id="root"></div><script type="module" src="/main.tsx"></script>',
		"main.tsx": `
			import { createRoot } from "react-dom/client";
			import { createClient } from "realtime-worker/client";
			import { useTable } from "realtime-worker/react";
			const client = createClient("https://example.com", { organizationId: "org_1", token: "token" });
			const Page = () => <p>{useTable(client, "claims", { query: async () => [] }).rows.length}</p>;
			createRoot(document.getElementById("root")!).render(<Page />);`,
	});
	await run(folder, program("vite"), "build", "--logLevel", "warn");
	const [script] = (await readdir(join(folder, "dist/assets"))).filter((name) => name.endsWith(".js"));
	const text = await readFile(join(folder, "dist/assets", script), "utf8");
	assert.ok(text.includes("/realtime/v1/websocket"));
	assert.ok(!text.includes("realtime_outbox") && !text.includes("REALTIME_URL"));
});

test("a page is rendered on the server, where nothing connects", async () => {
	const folder = await home.project("ssr", {
		"main.mjs": `
			import { createElement } from "react";
			import { renderToString } from "react-dom/server";
			import { createClient } from "realtime-worker/client";
			import { useRealtime, useTable } from "realtime-worker/react";
			const client = createClient("http://127.0.0.1:1", { organizationId: "org_1", token: "token" });
			const Page = () => {
				const { rows } = useTable(client, "claims", { query: async () => [] });
				return createElement("p", null, useRealtime(client).state, " ", rows.length);
			};
			console.log(renderToString(createElement(Page)));`,
	});
	// It ends by itself: nothing keeps the process alive.
	assert.match(await run(folder, process.execPath, "main.mjs"), /^<p>(idle|disconnected|connecting|closed)<!-- --> <!-- -->0<\/p>\n$/);
});

test("its license files are the checkout's", async () => {
	for (const name of ["LICENSE-MIT", "LICENSE-APACHE"]) {
		assert.equal(await readFile(join(home.installed, name), "utf8"), await readFile(checkout + name, "utf8"));
	}
});
