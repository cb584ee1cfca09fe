/**
 * What triggers need to know about a database's tables: read from Drizzle's, or described directly.
 */

/**
 * How a column's values are represented in JSON.
 *
 * - `value`: as SQLite stores it. `text`: the same as text, for numbers with more digits than JSON readers preserve.
 * - `boolean`: from 0 and 1. `json`: from a text that holds JSON.
 * - `seconds`, `milliseconds`: a time in ISO 8601, from a number since 1970.
 * - `omit`: the column is left out of the row, as bytes are.
 */
export type ColumnKind = "value" | "text" | "boolean" | "json" | "seconds" | "milliseconds" | "omit";

/** A directly described column: its kind; and its name, if rows have it under another one. */
export type ColumnWords = ColumnKind | { readonly name: string; readonly kind?: ColumnKind };

/** A directly described table. */
export interface TableWords {
	/** The table's name in the database. Default: the name that it is published under. */
	readonly name?: string;
	/** Every column, by its key in rows. */
	readonly columns: { readonly [Key: string]: ColumnWords };
	/** The keys of the primary key's columns. Default: `id`. */
	readonly primaryKey?: readonly string[];
}

/** How Drizzle names columns without an explicit name, as in its option `casing`. */
export type Casing = "snake_case" | "camelCase";

/** Kinds of columns by key, for types of Drizzle that do not determine them, such as custom ones. */
export type Kinds = { readonly [Key: string]: ColumnKind };

/** A column of {@link TableShape}. */
export interface ColumnShape {
	/** Its name in rows of the API. */
	readonly key: string;
	/** Its name in the database. */
	readonly name: string;
	readonly kind: ColumnKind;
}

/** A table as triggers need it. */
export interface TableShape {
	readonly name: string;
	readonly columns: readonly ColumnShape[];
	/** The keys of the primary key. */
	readonly primaryKey: readonly string[];
}

/** The part of a Drizzle column that is read. */
interface DrizzleColumn {
	readonly name: string;
	readonly columnType: string;
	readonly mode?: string;
	readonly primary: boolean;
	readonly keyAsName: boolean;
}

/** Whether a value is a Drizzle table. */
export function isDrizzle(table: object): boolean {
	return drizzle("IsDrizzleTable") in table;
}

/** The name of a Drizzle table in the database. */
export function nameOf(table: object): string {
	return read<string>(table, "Name");
}

/** Reads a Drizzle table. */
export function ofDrizzle(table: object, casing: Casing | undefined, kinds: Kinds = {}): TableShape {
	const columns = Object.entries(read<Record<string, DrizzleColumn>>(table, "Columns"));
	const single = columns.filter(([, column]) => column.primary).map(([key]) => key);
	const composite = compositeKey(table).map((name) => columns.find(([, column]) => column.name === name)?.[0] ?? name);
	return {
		name: nameOf(table),
		columns: columns.map(([key, column]) => ({
			key,
			name: column.keyAsName ? cased(column.name, casing) : column.name,
			kind: (Object.hasOwn(kinds, key) && kinds[key]) || kindOf(column, `${nameOf(table)}.${key}`),
		})),
		primaryKey: composite.length > 0 ? composite : single,
	};
}

/** Reads a directly described table. */
export function ofWords(published: string, { name, columns, primaryKey = ["id"] }: TableWords): TableShape {
	const shapes = Object.entries(columns).map(([key, words]) => {
		const { name = key, kind = "value" } = typeof words === "string" ? { kind: words } : words;
		return { key, name, kind };
	});
	return { name: name ?? published.slice(published.indexOf(".") + 1), columns: shapes, primaryKey };
}

function kindOf({ columnType, mode }: DrizzleColumn, path: string): ColumnKind {
	if (columnType === "SQLiteTimestamp") return mode === "timestamp_ms" ? "milliseconds" : "seconds";
	const kind = Object.hasOwn(KINDS, columnType) ? KINDS[columnType] : undefined;
	if (!kind) throw new TypeError(`${path} is of a type that is not known (${columnType}): say its kind in \`kinds\``);
	return kind;
}

const KINDS: Readonly<Record<string, ColumnKind>> = {
	SQLiteText: "value",
	SQLiteInteger: "value",
	SQLiteReal: "value",
	SQLiteNumericNumber: "value",
	SQLiteBoolean: "boolean",
	SQLiteTextJson: "json",
	SQLiteBlobJson: "json",
	SQLiteNumeric: "text",
	SQLiteNumericBigInt: "text",
	SQLiteBigInt: "text",
	SQLiteBlobBuffer: "omit",
};

/** The column names of a primary key that is declared separately. */
function compositeKey(table: object): string[] {
	const build = read<((columns: object) => object) | undefined>(table, "ExtraConfigBuilder");
	const extras = Object.values(build?.(read(table, "ExtraConfigColumns")) ?? {}).flat() as object[];
	const isKey = (extra: object) => (extra.constructor as never)[drizzle("entityKind")] === "SQLitePrimaryKeyBuilder";
	const key = extras.find(isKey) as { readonly columns: readonly { readonly name: string }[] } | undefined;
	return key?.columns.map(({ name }) => name) ?? [];
}

/** As Drizzle does. */
function cased(key: string, casing: Casing | undefined): string {
	if (!casing) return key;
	const words = key.replace(/['\u2019]/g, "").match(/[\da-z]+|[A-Z]+(?![a-z])|[A-Z][\da-z]+/g) ?? [];
	if (casing === "snake_case") return words.map((word) => word.toLowerCase()).join("_");
	return words.map((word, index) => (index === 0 ? word.toLowerCase() : word[0]!.toUpperCase() + word.slice(1))).join("");
}

const drizzle = (name: string) => Symbol.for(`drizzle:${name}`);

function read<Value>(table: object, name: string): Value {
	return (table as Record<symbol, unknown>)[drizzle(name)] as Value;
}
