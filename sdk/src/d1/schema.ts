/**
 * What triggers have to know of a database's tables: read from Drizzle's, or said in words.
 */

/**
 * What JSON has of a column's values.
 *
 * - `value`: what SQLite stores. `text`: the same as text, for numbers with more digits than JSON's readers keep.
 * - `boolean`: of 0 and 1. `json`: of a text that holds JSON.
 * - `seconds`, `milliseconds`: a time in ISO 8601, of a number since 1970.
 * - `omit`: nothing. The column stays out of the row, as bytes do.
 */
export type ColumnKind = "value" | "text" | "boolean" | "json" | "seconds" | "milliseconds" | "omit";

/** A column that is described in words: its kind; and its name, where rows have it under another. */
export type ColumnWords = ColumnKind | { readonly name: string; readonly kind?: ColumnKind };

/** A table that is described in words. */
export interface TableWords {
	/** The table's name in the database. Default: the name that it is published by. */
	readonly name?: string;
	/** Every column, by the key that rows have it under. */
	readonly columns: { readonly [Key: string]: ColumnWords };
	/** The keys of the primary key's columns. Default: `id`. */
	readonly primaryKey?: readonly string[];
}

/** How Drizzle names the columns that are given no name: as its option `casing`. */
export type Casing = "snake_case" | "camelCase";

/** Kinds of columns by their keys, where Drizzle's types do not tell, as custom ones. */
export type Kinds = { readonly [Key: string]: ColumnKind };

/** A column of {@link TableShape}. */
export interface ColumnShape {
	/** As rows of the API have it. */
	readonly key: string;
	/** As the database has it. */
	readonly name: string;
	readonly kind: ColumnKind;
}

/** A table as triggers are made of it. */
export interface TableShape {
	readonly name: string;
	readonly columns: readonly ColumnShape[];
	/** The keys of the primary key. */
	readonly primaryKey: readonly string[];
}

/** What is read of a column of Drizzle. */
interface DrizzleColumn {
	readonly name: string;
	readonly columnType: string;
	readonly mode?: string;
	readonly primary: boolean;
	readonly keyAsName: boolean;
}

/** Whether something is a table of Drizzle's. */
export function isDrizzle(table: object): boolean {
	return drizzle("IsDrizzleTable") in table;
}

/** The name that a table of Drizzle's has in the database. */
export function nameOf(table: object): string {
	return read<string>(table, "Name");
}

/** Reads a table of Drizzle's. */
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

/** Reads a table that is described in words. */
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

/** The names of the columns of a key that is declared beside them. */
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
