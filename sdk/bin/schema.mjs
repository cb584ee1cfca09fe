/**
 * `npx realtime-worker schema`: the migration with the triggers of `realtime-worker/d1`.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { triggers } from "../dist/d1/index.js";
import { loadConfig, takeOption } from "./config.mjs";

/** The suffix of our migrations' names. */
const SUFFIX = "_realtime.sql";

/** Prints the migration, writes it, or checks that it exists. */
export async function schema(given) {
	const { value: file, rest } = takeOption(given, "--config");
	const { value: folder, rest: others } = takeOption(rest, "--migrations");
	const { value: checked, rest: unknown } = takeOption(others, "--check");
	if (unknown.length > 0) throw new Error(`schema has no argument ${unknown[0]}`);
	const config = await loadConfig(file);
	if (!config.tables || !config.schema) throw new Error("the configuration has no `tables` and `schema`: see --help");
	const made = triggers(config);
	if (!folder && !checked) {
		process.stdout.write(made.sql);
		return 0;
	}
	const last = newest(folder ?? checked);
	const sql = retired(last?.text, made) + made.sql;
	if (last && same(last.text, made)) {
		console.error(`${last.name} is up to date`);
		return 0;
	}
	if (checked) throw new Error(`${checked} lacks a migration: npx realtime-worker schema --migrations ${checked}`);
	const name = `${nextNumber(folder)}${SUFFIX}`;
	writeFileSync(join(folder, name), sql);
	console.error(`wrote ${join(folder, name)}`);
	return 0;
}

/** Our newest migration. */
function newest(folder) {
	const name = readdirSync(folder).filter((one) => one.endsWith(SUFFIX)).sort().at(-1);
	return name && { name, text: readFileSync(join(folder, name), "utf8") };
}

/** Numbered like wrangler's. */
function nextNumber(folder) {
	const numbers = readdirSync(folder).map((name) => Number(name.match(/^\d+/)?.[0] ?? -1));
	return String(Math.max(-1, ...numbers) + 1).padStart(4, "0");
}

const same = (text, { sql }) => text.endsWith(sql);

/** Drops the triggers of tables that are no longer published. */
function retired(text = "", { sql }) {
	const dropped = text.match(/^DROP TRIGGER IF EXISTS .*;$/gm) ?? [];
	return dropped.filter((statement) => !sql.includes(statement)).map((statement) => `${statement}\n--> statement-breakpoint\n`).join("");
}
