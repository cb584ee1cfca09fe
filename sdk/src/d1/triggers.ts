/**
 * D1 as a source of changes: triggers write a table's changes into the outbox, in the transaction of the change.
 * Whoever writes, with whatever statement, what is published is what the database holds.
 */
import { changeMessage, type Operation } from "../server/message.ts";
import { OUTBOX_TABLE } from "../server/sql.ts";
import { narrow, type Table, type Tables } from "../server/table.ts";
import { literal, quoted, rowJson } from "./expression.ts";
import { type Casing, isDrizzle, type Kinds, nameOf, ofDrizzle, ofWords, type TableShape, type TableWords } from "./schema.ts";

/** The input from which triggers are generated. */
export interface TriggerOptions {
	/** What is published, and to whom: the tables of `createRealtime`. Their `organization` names the tenant's column. */
	readonly tables: Tables;
	/**
	 * The tables of the database: Drizzle's (`import * as schema`), or described directly. Tables that are not
	 * published are ignored.
	 */
	readonly schema: { readonly [name: string]: unknown };
	/** The option of the same name of Drizzle's database. */
	readonly casing?: Casing;
	/** Kinds of columns by table and key, for types of Drizzle that do not determine them. */
	readonly kinds?: { readonly [table: string]: Kinds };
	/** The organization of tables without a column for it, if all rows belong to one organization. */
	readonly organizationId?: string;
}

/** The triggers of a database. */
export interface Triggers {
	/** The statements of the migration: the outbox's table, and each trigger, created anew. */
	readonly statements: readonly string[];
	/** The migration, for `wrangler d1 migrations` and for Drizzle. */
	readonly sql: string;
	/** The statement that creates each trigger, by name. */
	readonly triggers: Readonly<Record<string, string>>;
	/** The columns of each table by their names in the database, including omitted ones. */
	readonly columns: Readonly<Record<string, readonly string[]>>;
}

/**
 * Generates the triggers that fill the outbox: the next `flush` publishes every `INSERT`, `UPDATE` or `DELETE`, by
 * whomever, cascades included, as JSON of every column as the API would serve it.
 *
 * An update that moves a row to another organization, or changes its primary key, is published as a delete and an
 * insert. A row without an organization is published to nobody. `REPLACE` of a row is published as an insert only,
 * because SQLite runs no triggers for the row that it replaces: prefer `ON CONFLICT … DO UPDATE`.
 *
 * @throws {TypeError} when a table or a column is not in the schema, or is of a type that is not known
 *
 * @example
 * ```ts
 * import { triggers } from "realtime-worker/d1";
 * import { defineTable } from "realtime-worker/server";
 *
 * const tables = { claims: defineTable<{ id: string; open: boolean; orgId: string }>({ organization: "orgId" }) };
 * const claims = { columns: { id: "value", open: "boolean", orgId: { name: "org_id" } } } as const; // or a table of Drizzle
 *
 * console.log(triggers({ tables, schema: { claims } }).sql); // into a migration
 * ```
 */
export function triggers(options: TriggerOptions): Triggers {
	const made = Object.entries(options.tables).map(([published, table]) => ofTable(published, table, options));
	const created = Object.assign({}, ...made.map(({ created }) => created)) as Record<string, string>;
	const statements = [
		...OUTBOX_TABLE.split(";\n").filter(Boolean),
		...made.flatMap(({ shape }) => KINDS.map((kind) => `DROP TRIGGER IF EXISTS ${quoted(triggerName(shape, kind))}`)),
		...Object.values(created),
	].map((statement) => `${statement};`);
	return {
		statements,
		sql: `${statements.join(`\n${BREAKPOINT}\n`)}\n`,
		triggers: created,
		columns: Object.fromEntries(made.map(({ shape }) => [shape.name, shape.columns.map(({ name }) => name)])),
	};
}

/** The separator at which Drizzle splits a migration. For wrangler it is a comment. */
const BREAKPOINT = "--> statement-breakpoint";
const KINDS = ["insert", "update", "delete", "move"] as const;

/** The name of a trigger. */
function triggerName(shape: TableShape, kind: (typeof KINDS)[number]): string {
	return `${TRIGGER_PREFIX}${shape.name}_${kind}`;
}

/** The prefix of our triggers' names. */
export const TRIGGER_PREFIX = "realtime_";

function ofTable(published: string, table: Table, options: TriggerOptions) {
	const shape = shapeOf(published, options);
	const columnOf = (key: string) => {
		const found = shape.columns.find((column) => column.key === key);
		if (!found) throw new TypeError(`${published} has no column ${key}`);
		return found.name;
	};
	for (const { key } of shape.columns) {
		if (/["\\]/.test(key)) throw new TypeError(`${published}: no path of JSON names ${key}`);
	}
	const key = (table.primaryKey ?? shape.primaryKey).map(columnOf);
	if (key.length === 0) throw new TypeError(`${published} has no primary key`);
	const organization = organizationOf(published, table, options);
	const tenant = (row: string) =>
		"key" in organization ? `CAST(${row}.${quoted(columnOf(organization.key))} AS TEXT)` : literal(organization.id);
	return { shape, created: Object.fromEntries(createAll({ published, table, shape, key, tenant })) };
}

function shapeOf(published: string, { schema, casing, kinds = {} }: TriggerOptions): TableShape {
	const all = Object.entries(schema).filter((entry): entry is [string, object] => typeof entry[1] === "object" && entry[1] !== null);
	const bare = published.slice(published.indexOf(".") + 1);
	const [, found] =
		all.find(([name]) => name === published) ??
		all.find(([name]) => name === bare) ??
		all.find(([, one]) => isDrizzle(one) && nameOf(one) === bare) ??
		[];
	if (!found) throw new TypeError(`${published} is not in the schema`);
	return isDrizzle(found) ? ofDrizzle(found, casing, kinds[published]) : ofWords(published, found as TableWords);
}

function organizationOf(published: string, table: Table, { organizationId }: TriggerOptions) {
	if (table.organization) return { key: table.organization };
	if (organizationId !== undefined) return { id: organizationId };
	throw new TypeError(`${published} has no \`organization\`: name its column in defineTable, or give \`organizationId\``);
}

/** A table with everything that its triggers need. */
interface Subject {
	readonly published: string;
	readonly table: Table;
	readonly shape: TableShape;
	/** The columns of the primary key. */
	readonly key: readonly string[];
	/** The expression for the organization of a row. */
	readonly tenant: (row: string) => string;
}

/** The triggers of a table, by name. A trigger that would publish nothing is omitted. */
function createAll(subject: Subject): [name: string, sql: string][] {
	const { shape, key, tenant } = subject;
	const same = [...key.map((name) => `NEW.${quoted(name)} IS OLD.${quoted(name)}`), `${tenant("NEW")} IS ${tenant("OLD")}`];
	// A trigger of the application may have changed the row again by now. The current row is published, so that the last
	// event about a row is the row.
	const isIt = key.map((name) => `${CURRENT}.${quoted(name)} = NEW.${quoted(name)}`).join(" AND ");
	const current = `${quoted(shape.name)} AS ${CURRENT} WHERE ${isIt}`;
	const inserted = announce(subject, "INSERT", { new: CURRENT }, current);
	const updated = announce(subject, "UPDATE", { new: CURRENT, old: "OLD" }, current);
	const deleted = announce(subject, "DELETE", { old: "OLD" });
	const bodies = {
		insert: { event: "INSERT", body: inserted },
		update: { event: "UPDATE", body: updated, when: same.join(" AND ") },
		delete: { event: "DELETE", body: deleted },
		move: { event: "UPDATE", body: deleted + inserted, when: `NOT (${same.join(" AND ")})` },
	};
	return KINDS.flatMap((kind) => {
		const { event, body, when } = { when: undefined, ...bodies[kind] };
		const name = triggerName(shape, kind);
		const head = `CREATE TRIGGER ${quoted(name)} AFTER ${event} ON ${quoted(shape.name)}${when ? `\nWHEN ${when}` : ""}`;
		return body ? [[name, `${head}\nBEGIN\n${body}END`] as [string, string]] : [];
	});
}

/** The row in its current state, in a query. */
const CURRENT = "row_now";

/** The statement that writes a change into the outbox; nothing if the table does not publish it. */
function announce(subject: Subject, operation: Operation, rows: { new?: string; old?: string }, from?: string): string {
	const { published, table, shape, tenant } = subject;
	const options = narrow(table, operation, {});
	if (!options) return "";
	const { id, new: _new, old: _old, ...constant } = changeMessage(published, operation, { new: null, old: null }, options);
	const pairs = [
		["id", "made.id"],
		...Object.entries(constant).map(([name, value]) => [name, `json(${literal(JSON.stringify(value))})`]),
		...(["new", "old"] as const).map((name) => [name, rows[name] ? rowJson(rows[name], shape.columns) : "NULL"]),
	];
	const organization = tenant(rows.new ?? rows.old!);
	const message = `json_object(${pairs.map(([name, value]) => `${literal(name!)}, ${value}`).join(", ")})`;
	// DISTINCT keeps SQLite from generating another id for each use.
	const id16 = "(SELECT DISTINCT lower(hex(randomblob(16))) AS id) AS made";
	return [
		"  INSERT INTO realtime_outbox (organization_id, id, message, created_at)",
		`  SELECT ${organization}, made.id, ${message}, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)`,
		`  FROM ${id16}${from ? `, ${from} AND ` : " WHERE "}${organization} IS NOT NULL;\n`,
	].join("\n");
}
