/**
 * The compatibility matrix of Supabase's clients has only rows that the specs run. They compare the rows themselves.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { CLIENTS } from "../supabase.mjs";
import { table } from "../supabase_matrix.mjs";

const specs = new URL("./", import.meta.url);

test("every line of the matrix is a behaviour of a spec", () => {
	const files = readdirSync(specs).filter((file) => file.startsWith("supabase-"));
	const text = files.map((file) => readFileSync(new URL(file, specs), "utf8")).join("\n");
	const [head, , ...lines] = table().lines;
	assert.equal(head, `| ${["Behaviour", ...CLIENTS.map(({ name }) => name)].join(" | ")} |`);
	const unknown = lines.filter((line) => !text.includes(`"${line.split(" | ")[0].slice(2)}"`));
	assert.deepEqual(unknown, [], "docs/protocol-supabase.md has lines that no spec runs");
	assert.equal(lines.length, text.match(/^(behaviour|deployed)\(/gm).length);
});
