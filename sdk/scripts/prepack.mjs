/**
 * `npm pack` and `npm publish`: builds what the package ships, from a checkout in whatever state.
 *
 *   dist/            the TypeScript, compiled
 *   dist/worker/     the Worker, compiled from Rust, with its types and what wrangler is to be told of it
 *   LICENSE-*        the checkout's
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const sdk = fileURLToPath(new URL("..", import.meta.url));
const checkout = fileURLToPath(new URL("../..", import.meta.url));

function run(cwd, command, ...given) {
	// npm prints what is packed on its standard output, which programs read.
	const { status, error } = spawnSync(command, given, { cwd, stdio: ["ignore", 2, 2] });
	if (status !== 0) throw new Error(`${command} ${given.join(" ")}: ${error?.message ?? `exit ${status}`}`);
}

/** The compiler of package-lock.json, whether or not it is installed yet. */
function compile() {
	if (!existsSync(`${sdk}node_modules/typescript`)) run(sdk, "npm", "ci", "--no-audit", "--no-fund");
	const manifest = createRequire(import.meta.url).resolve("typescript/package.json");
	run(sdk, process.execPath, manifest.replace(/package\.json$/, "bin/tsc"), "--project", "tsconfig.json");
}

/** Declarations of whatever the built Worker exports. */
function declarationsOf(script) {
	const [, list] = script.match(/export\s*\{([^{}]*)\};?\s*$/) ?? [];
	if (!list) throw new Error("build/index.js exports nothing");
	const classes = list.split(",").map((one) => one.trim().split(" as ").at(-1)).filter((name) => name !== "default");
	return [
		"/** A class of Durable Objects. The runtime constructs them; what they do is the Worker's own affair. */",
		"export interface RealtimeObject {",
		"\tfetch(request: Request): Promise<Response>;",
		"}",
		...classes.map((name) => `export declare const ${name}: new (state: any, env: any) => RealtimeObject;`),
		"declare const worker: {",
		"\t/** Answers everything under `/realtime/v1`, and `POST /broadcast`. */",
		"\tfetch(request: Request, env: any, context: any): Promise<Response>;",
		"};",
		"export default worker;",
		"",
	].join("\n");
}

function shipWorker() {
	// Always, for what is in build/ may be older than the sources; it is quick where it is not.
	if (existsSync(`${checkout}Cargo.toml`)) run(checkout, "cargo", "xtask", "build");
	mkdirSync(`${sdk}dist/worker`, { recursive: true });
	for (const name of ["index.js", "index_bg.wasm"]) copyFileSync(`${checkout}build/${name}`, `${sdk}dist/worker/${name}`);
	writeFileSync(`${sdk}dist/worker/index.d.ts`, declarationsOf(readFileSync(`${checkout}build/index.js`, "utf8")));
}

/** What wrangler is to be told of the Worker: its wrangler.toml, but for what is this checkout's. */
function runtime() {
	const { parse } = createRequire(`${checkout}miniflare/package.json`)("smol-toml");
	const { compatibility_date, compatibility_flags, durable_objects, migrations } = parse(readFileSync(`${checkout}wrangler.toml`, "utf8"));
	return `${JSON.stringify({ compatibility_date, compatibility_flags, durable_objects, migrations }, null, "\t")}\n`;
}

compile();
shipWorker();
writeFileSync(`${sdk}dist/worker/runtime.json`, runtime());
for (const name of ["LICENSE-APACHE", "LICENSE-MIT"]) copyFileSync(`${checkout}${name}`, `${sdk}${name}`);
