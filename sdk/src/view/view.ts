/**
 * Applies the stream's rules to rows for the API's own answers: audience, rows, columns and masks of the same tables.
 */
import type { JsonOf } from "../client/definitions.ts";
import type { Table, TableOptions, Tables } from "../server/table.ts";
import { isWellFormed } from "./mask.ts";
import { type Json, type JsonRow, maskRow } from "./masking.ts";
import type { Viewer } from "./viewer.ts";

/** Columns that may hold a row's owner if the table names none, in the order in which they are tried. */
const OWNER_FIELDS = ["userId", "user_id", "ownerId", "owner_id", "createdBy", "created_by"];

/** A row as shown to a viewer: masked columns are text, and some are missing. */
export type Seen<Row> = { [Column in keyof Row]?: JsonOf<Row[Column]> | string };

/** Shows rows of a table to a viewer. */
export type View<Names extends Tables> = <Name extends keyof Names & string>(
	table: Name,
	rows: readonly (Names[Name] extends Table<infer Row> ? Partial<Row> : object)[],
	viewer: Viewer | null,
) => (Names[Name] extends Table<infer Row> ? Seen<Row> : JsonRow)[];

/**
 * Creates a function that shows rows as the stream would, so a `GET` that returns its result leaks nothing that the
 * stream hides. It applies the Worker's rules (one table of tests checks both): the table's roles, `rows`, `masking`,
 * `fields`. Without a viewer, nothing is shown.
 *
 * The organization is not a rule of a table: query only the rows of the viewer's organization.
 *
 * @throws {TypeError} when a table is not among `tables`: it would have no rules
 *
 * @example
 * ```ts
 * import { defineTable } from "realtime-worker/server";
 * import { createView } from "realtime-worker/view";
 *
 * const tables = {
 *   employees: defineTable<{ id: string; ssn: string; userId: string }>({
 *     rows: [{ roles: ["admin"] }, { column: "userId", claim: "sub" }],
 *     masking: { ssn: { type: "ssn", show: { or: "owner" } } },
 *   }),
 * };
 * const view = createView(tables);
 *
 * const rows = [{ id: "e1", ssn: "123-45-6789", userId: "u7" }];
 * console.log(view("employees", rows, { userId: "u7", roles: [] })); // the row as it is
 * console.log(view("employees", rows, { userId: "u8", roles: ["admin"] })); // ssn: "*****6789"
 * console.log(view("employees", rows, { userId: "u8", roles: [] })); // []
 * ```
 */
export function createView<const Names extends Tables>(tables: Names): View<Names> {
	return (name, rows, viewer) => {
		if (!Object.hasOwn(tables, name)) throw new TypeError(`${name} is not one of the tables`);
		if (!viewer) return [];
		return show(tables[name]!, rows, viewer) as never;
	};
}

/** Rows of a table as a viewer sees them. */
export function show(table: Table, rows: readonly object[], viewer: Viewer): JsonRow[] {
	const roles = viewer.roles.filter((role) => role !== "");
	const holds = (wanted: readonly string[] | undefined) => !wanted || wanted.some((role) => roles.includes(role));
	if (!holds(table.requiredRoles)) return [];
	const seen = rows.map(jsonOf).filter((row) => row !== undefined && isVisible(row, table.rows, viewer, holds)) as JsonRow[];
	return seen.map((row) => {
		const masked = maskRow(row, table.masking ?? {}, roles, owns(row, table.ownerField, viewer));
		return project(masked, table.fields);
	});
}

/** A row as JSON. A row that the Worker would reject is not shown either. */
function jsonOf(row: object): JsonRow | undefined {
	const json = JSON.parse(JSON.stringify(row)) as Json;
	const isRow = typeof json === "object" && json !== null && !Array.isArray(json);
	return isRow && Object.keys(json).every(isWellFormed) ? json : undefined;
}

function isVisible(row: JsonRow, rules: TableOptions["rows"], viewer: Viewer, holds: (roles: readonly string[]) => boolean): boolean {
	if (!rules) return true;
	return rules.some((rule: { roles?: readonly string[]; column?: string; claim?: string }) => {
		const { roles, column, claim } = rule;
		if (column === undefined || claim === undefined) return roles !== undefined && column === claim && holds(roles);
		const key = keyOf(row, column);
		return (!roles || holds(roles)) && key !== undefined && claimOf(viewer, claim).includes(key);
	});
}

/** The values of a claim: the claim itself, or its elements. */
function claimOf({ userId, claims = {} }: Viewer, name: string): string[] {
	if (name === "sub") return userId ? [userId] : [];
	const value = member(claims, name) ?? name.split(".").reduce<unknown>((inner, step) => member(inner, step), claims);
	const all = Array.isArray(value) ? value : [value];
	return all.filter((one) => ["string", "number", "boolean"].includes(typeof one)).map(String);
}

function member(value: unknown, key: string): unknown {
	return typeof value === "object" && value !== null && Object.hasOwn(value, key) ? (value as JsonRow)[key] : undefined;
}

function owns(row: JsonRow, ownerField: string | undefined, { userId }: Viewer): boolean {
	const field = ownerField ?? OWNER_FIELDS.find((name) => Object.hasOwn(row, name));
	return field !== undefined && Boolean(userId) && keyOf(row, field) === userId;
}

/** A value as text, for comparison with a user or a claim: never empty, and never from `null`. */
function keyOf(row: JsonRow, column: string): string | undefined {
	const value = Object.hasOwn(row, column) ? row[column] : null;
	if (typeof value === "number") return `${value}`;
	return typeof value === "string" && value !== "" && isWellFormed(value) ? value : undefined;
}

function project(row: JsonRow, fields: readonly string[] | undefined): JsonRow {
	return fields ? Object.fromEntries(Object.entries(row).filter(([column]) => fields.includes(column))) : row;
}
