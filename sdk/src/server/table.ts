/**
 * What is published of a table, and to whom. The helper applies it, and the Worker's `REALTIME` is derived from it.
 */
import { invalid } from "./error.ts";
import type { ChangeOptions, MaskingConfig, MaskRule, Operation } from "./message.ts";

declare const rowType: unique symbol;

/** The names of a row's columns. */
export type ColumnOf<Row> = keyof Row & string;

/** The options of one table. */
export interface TableOptions<Row extends object = any> {
	/** Whether anything is published. Default: true. */
	readonly enabled?: boolean;
	/** Whether inserts are published. Default: true. */
	readonly onInsert?: boolean;
	/** Whether updates are published. Default: true. */
	readonly onUpdate?: boolean;
	/** Whether deletes are published. Default: true. */
	readonly onDelete?: boolean;
	/** Roles of which a subscriber must hold at least one. Default: everyone in the organization. */
	readonly requiredRoles?: readonly string[];
	/** The columns that are sent. Default: all. */
	readonly fields?: readonly ColumnOf<Row>[];
	/** The columns that identify a row. Used by the Worker only. Default: `id`. */
	readonly primaryKey?: readonly ColumnOf<Row>[];
	/** What is masked for whom. */
	readonly masking?: MaskingConfig<ColumnOf<Row>>;
	/** The column that names the organization of a row. Used only by the triggers of `realtime-worker/d1`. */
	readonly organization?: ColumnOf<Row>;
	/** The column that holds the owner, for `or: "owner"`. */
	readonly ownerField?: ColumnOf<Row>;
	/** Which rows a subscriber sees; a row is visible if any rule matches. Applied by the Worker only. Default: all. */
	readonly rows?: readonly (
		| { readonly roles: readonly string[] }
		| { readonly column: ColumnOf<Row>; readonly claim: string }
	)[];
	/** Declared types, such as `int8`, for the filters of subscribers. Used by the Worker only. */
	readonly columns?: { readonly [Column in ColumnOf<Row>]?: string };
	/** Whether changes are retained for recovery. Used by the Worker only. Default: true. */
	readonly history?: boolean;
}

/** A table of {@link defineTable}. */
export interface Table<Row extends object = any> extends TableOptions<Row> {
	/** @internal Only a type. */
	readonly [rowType]?: Row;
}

/** Tables by name: `table`, or `schema.table`. */
export type Tables = Readonly<Record<string, Table>>;

/**
 * Declares what is published of a table, and to whom. The type parameter is its row, from which the compiler knows the
 * columns.
 *
 * @example
 * ```ts
 * import { createRealtime, defineTable } from "realtime-worker/server";
 *
 * type Employee = { id: string; name: string; ssn: string; teamId: string };
 *
 * const employees = defineTable<Employee>({
 *   onDelete: false,
 *   requiredRoles: ["member", "admin"],
 *   fields: ["id", "name", "ssn"],
 *   masking: { ssn: { type: "ssn", show: { roles: ["admin"] } } },
 * });
 *
 * const realtime = createRealtime(env, { tables: { employees } });
 * await realtime.insert("employees", { id: "e1", name: "Grace", ssn: "123-45-6789" }, orgId);
 * await realtime.delete("employees", { id: "e1" }, orgId); // sends nothing
 * ```
 */
export function defineTable<Row extends object = any>(options: TableOptions<Row> = {}): Table<Row> {
	return options;
}

/** The value of the Worker's variable `REALTIME`. */
export interface RealtimeVariable {
	readonly tables: Readonly<Record<string, Omit<TableOptions, "enabled" | "organization">>>;
	readonly [section: string]: unknown;
}

/**
 * The Worker's variable `REALTIME` with these tables, so that the Worker enforces what the helper applies. Every other
 * section (`channels`, `limits`, …) is passed on unchanged.
 *
 * @example
 * ```ts
 * import { defineTable, realtimeVariable } from "realtime-worker/server";
 *
 * const claims = defineTable<{ id: string; title: string }>({ requiredRoles: ["member"], onDelete: false });
 *
 * const variable = realtimeVariable({ tables: { claims }, channels: [{ topic: "room:*", read: {} }] });
 * console.log(JSON.stringify({ vars: { REALTIME: variable } })); // for wrangler.jsonc
 * ```
 */
export function realtimeVariable(sections: { readonly tables: Tables; readonly [section: string]: unknown }): RealtimeVariable {
	const entries = Object.entries(sections.tables).map(([name, { enabled, organization, ...table }]) => {
		const off = { onInsert: false, onUpdate: false, onDelete: false };
		return [name, enabled === false ? { ...table, ...off } : table] as const;
	});
	return { ...sections, tables: Object.fromEntries(entries) };
}

/**
 * A call's options combined with the table's: the narrower audience, the fewer fields, the stricter mask.
 *
 * @returns nothing when the table does not announce this
 */
export function narrow(table: Table, operation: Operation, options: ChangeOptions): ChangeOptions | undefined {
	const switches = { INSERT: table.onInsert, UPDATE: table.onUpdate, DELETE: table.onDelete };
	if (table.enabled === false || switches[operation] === false) return undefined;
	const targetRoles = both(table.requiredRoles, options.targetRoles);
	if (targetRoles?.length === 0 && options.targetRoles?.length) {
		throw invalid("targetRoles", "has none of the table's requiredRoles");
	}
	const fields = both(table.fields, options.fields);
	const maskingConfig = table.masking && mask(table.masking, options.maskingConfig);
	const { ownerField } = table;
	return {
		...options,
		...(targetRoles && { targetRoles }),
		...(fields && { fields }),
		...(maskingConfig && { maskingConfig }),
		...(ownerField && { ownerField }),
	};
}

/** The elements of both lists, or the other list if one is absent. */
function both<Item>(some: readonly Item[] | undefined, others: readonly Item[] | undefined): readonly Item[] | undefined {
	return some && others ? some.filter((item) => others.includes(item)) : (some ?? others);
}

function mask(ours: MaskingConfig, theirs: MaskingConfig = {}): MaskingConfig {
	const shared = Object.entries(ours).map(([column, rule]) => [column, stricter(rule!, theirs[column])]);
	return { ...theirs, ...Object.fromEntries(shared) };
}

/** Shows a value only to those to whom both rules show it. */
function stricter(ours: MaskRule, theirs: MaskRule | undefined): MaskRule {
	if (!theirs) return ours;
	const roles = both(ours.show?.roles ?? [], theirs.show?.roles ?? [])!;
	const owner = ours.show?.or && theirs.show?.or;
	return { type: ours.type === theirs.type ? ours.type : "redact", show: { roles, ...(owner && { or: owner }) } };
}
