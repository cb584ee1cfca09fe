/**
 * Whether a database has its triggers.
 */
import type { D1, D1Statement } from "../server/sql.ts";
import { TRIGGER_PREFIX, type Triggers } from "./triggers.ts";

/** How a database differs from its {@link Triggers}; all empty if it does not. */
export interface Drift {
	/** Missing triggers, and the outbox's table if it is missing: these changes are not published. */
	readonly missing: readonly string[];
	/** Triggers whose definition differs. */
	readonly changed: readonly string[];
	/** Triggers of tables that are no longer published. */
	readonly extra: readonly string[];
	/** Columns, as `table.column`, that exist but that the schema does not know. */
	readonly unknown: readonly string[];
}

/**
 * Compares a database with its triggers. Rebuilding a table, as Drizzle's migrations do, drops its triggers silently:
 * check after each migration, in CI or in a health check.
 *
 * @example
 * ```ts
 * import { drift, triggers } from "realtime-worker/d1";
 * import { defineTable } from "realtime-worker/server";
 *
 * const tables = { claims: defineTable<{ id: string; orgId: string }>({ organization: "orgId" }) };
 * const schema = { claims: { columns: { id: "value", orgId: { name: "org_id" } } } };
 *
 * const { missing, changed, extra, unknown } = await drift(env.DB, triggers({ tables, schema }));
 * console.log(missing, changed, extra, unknown); // all empty, or the migration is to be made anew
 * ```
 */
export async function drift<Statement extends D1Statement>(database: D1<Statement>, { triggers, columns }: Triggers): Promise<Drift> {
	const rows = async (sql: string, ...values: string[]) =>
		(await database.prepare(sql).bind(...values).all()).results as readonly { readonly name: string; readonly sql: string }[];
	const there = await rows(OURS, `${TRIGGER_PREFIX.length}`, TRIGGER_PREFIX);
	const found = new Map(there.map(({ name, sql }) => [name, sql]));
	const outbox = await rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name = ?", "realtime_outbox");
	const names = Object.keys(triggers);
	const unknown: string[] = [];
	for (const [table, known] of Object.entries(columns)) {
		const present = await rows("SELECT name FROM pragma_table_xinfo(?)", table);
		unknown.push(...present.filter(({ name }) => !known.includes(name)).map(({ name }) => `${table}.${name}`));
	}
	return {
		missing: [...(outbox.length > 0 ? [] : ["realtime_outbox"]), ...names.filter((name) => !found.has(name))],
		changed: names.filter((name) => found.has(name) && plain(found.get(name)!) !== plain(triggers[name]!)),
		extra: [...found.keys()].filter((name) => !Object.hasOwn(triggers, name)),
		unknown,
	};
}

/** In a `LIKE` pattern, an underscore would match any character. */
const OURS = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND substr(name, 1, ?) = ?";

/** Tools differ in the white space of a migration that they preserve. */
function plain(sql: string): string {
	return sql.replace(/\s+/g, " ").replace(/;?\s*$/, "");
}
