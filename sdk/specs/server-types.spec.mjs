/**
 * The types: `server-types.ts` holds what has to compile and what must not.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const sdk = fileURLToPath(new URL("..", import.meta.url));

test("what should compile does, and a wrong payload, table or event does not", () => {
	const { status, stdout, stderr } = spawnSync("node_modules/.bin/tsc", ["--project", "tsconfig.specs.json"], { cwd: sdk });
	assert.equal(status, 0, `${stdout}${stderr}`);
});
