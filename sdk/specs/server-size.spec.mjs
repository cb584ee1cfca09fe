/**
 * What the package adds to an API worker.
 */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const { buildSync } = createRequire(new URL("../../miniflare/package.json", import.meta.url))("esbuild");
const sdk = fileURLToPath(new URL("..", import.meta.url));

/** Bytes of a minified bundle, and of it gzipped. */
function measure(names) {
	const { outputFiles } = buildSync({
		stdin: { contents: `export { ${names} } from "realtime-worker/server";`, resolveDir: sdk },
		bundle: true,
		minify: true,
		format: "esm",
		write: false,
	});
	const [{ contents }] = outputFiles;
	return { minified: contents.length, gzipped: gzipSync(contents, { level: 9 }).length };
}

for (const names of ["createRealtime", "createRealtime, defineRealtime, payload, defineTable, RealtimeError"]) {
	test(`{ ${names} } is less than 3 KB`, (context) => {
		const { minified, gzipped } = measure(names);
		context.diagnostic(`${minified} bytes, ${gzipped} gzipped`);
		assert.ok(gzipped < 3 * 1_024, `${gzipped}`);
	});
}

test("what is not used is not in the bundle", () => {
	assert.ok(measure("payload").minified < 100);
	assert.ok(measure("OUTBOX_TABLE").minified < 600);
});
