/** The published client: it type-checks, it is small, and it has no dependencies. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const { build } = createRequire(here("../../miniflare/package.json"))("esbuild");
/** The most that a page with `createClient` may load of it, minified and compressed. */
const MAX_BYTES = 8_000;
/** What the hooks may add to it. */
const MAX_MORE = 3_072;

test("the types promise what client-types.ts says", async () => {
	const flags = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2023,dom,dom.iterable"];
	const more = ["--allowImportingTsExtensions", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "--types", ""];
	const run = promisify(execFile)(here("../node_modules/.bin/tsc"), ["--ignoreConfig", ...flags, ...more, here("client-types.ts")]);
	await run.catch(({ stdout }) => assert.fail(stdout));
});

/** Bytes of a page's module, minified and compressed. */
async function measure(contents) {
	const stdin = { contents, resolveDir: here("../src") };
	const frameworks = ["react", "vue"];
	const bundle = await build({ stdin, bundle: true, minify: true, format: "esm", target: "es2022", write: false, external: frameworks });
	return gzipSync(bundle.outputFiles[0].text, { level: 9 }).length;
}

const CLIENT = 'export { createClient } from "./client/index.ts";';

test("the client is small", async (t) => {
	const length = await measure(CLIENT);
	t.diagnostic(`${length} bytes, compressed`);
	assert.ok(length < MAX_BYTES, `${length}`);
});

test("hooks, composables, stores and collections are smaller still", async (t) => {
	for (const part of ["react", "vue", "svelte", "tanstack"]) {
		const more = (await measure(`${CLIENT} export * from "./${part}/index.ts";`)) - (await measure(CLIENT));
		t.diagnostic(`${part}: ${more} bytes more, compressed`);
		assert.ok(more < MAX_MORE, `${part}: ${more}`);
	}
});

test("what a page does not use is not in it", async () => {
	const all = await measure('export { createClient, where, judge } from "./client/index.ts";');
	const fallback = (await measure('export { createClient, eventStreamFallback } from "./client/index.ts";')) - (await measure(CLIENT));
	assert.ok(fallback > 400 && fallback < 1_500, `only who asks for event streams loads them: ${fallback}`);
	assert.ok((await measure('export { where } from "./client/index.ts";')) < 600);
	assert.ok(all - (await measure(CLIENT)) > 100);
});

test("nothing is imported but the SDK itself, and React by the hooks", async () => {
	for (const [folder, allowed] of [["client", /^\.\/|^$/], ["react", /^\.\/|^\.\.\/client\/index\.ts$|^react$/]]) {
		for (const name of await readdir(here(`../src/${folder}`))) {
			const source = await readFile(here(`../src/${folder}/${name}`), "utf8");
			for (const [, from] of source.matchAll(/^(?:import|export) [^"]*?from "(.*)";$/gm)) assert.match(from, allowed, name);
		}
	}
});
