/**
 * Rules for the specs themselves.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

/**
 * The runner ends a file's process when the tests that it knows are done: one that is defined after an await may never
 * run.
 */
test("no spec awaits between its tests", () => {
	const wrong = [];
	for (const folder of ["../../miniflare/specs/", "../../sdk/specs/"]) {
		for (const name of readdirSync(new URL(folder, import.meta.url)).filter((name) => name.endsWith(".spec.mjs"))) {
			const source = readFileSync(new URL(folder + name, import.meta.url), "utf8");
			const after = source.slice(source.search(/^\t?test\(/m));
			const [late] = after.match(/^(?:const|let|await|export|\w+\()(?:(?!=>|async|function).)*\bawait .*$/m) ?? [];
			if (late) wrong.push(`${name}: ${late}`);
		}
	}
	assert.deepEqual(wrong, []);
});
