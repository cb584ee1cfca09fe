/**
 * Rows as JSON, in SQLite expressions. None of them fails, whatever a column holds, because a failing trigger would
 * undo the application's write.
 */
import type { ColumnShape } from "./schema.ts";

/** An identifier. */
export function quoted(name: string): string {
	return `"${name.replaceAll('"', '""')}"`;
}

/** A text. */
export function literal(text: string): string {
	return `'${text.replaceAll("'", "''")}'`;
}

/** The row `row` (`NEW`, `OLD` or an alias) as a JSON object. */
export function rowJson(row: string, columns: readonly ColumnShape[]): string {
	const announced = columns.filter(({ kind }) => kind !== "omit");
	const [first, ...rest] = chunksOf(announced, MAX_PAIRS);
	const pairs = (chunk: readonly ColumnShape[] = [], label: (key: string) => string) =>
		chunk.map((column) => `${literal(label(column.key))}, ${valueJson(row, column)}`).join(", ");
	const start = `json_object(${pairs(first, (key) => key)})`;
	return rest.reduce((object, chunk) => `json_set(${object}, ${pairs(chunk, pathOf)})`, start);
}

/** D1 accepts at most 32 arguments for a function, of which `json_set` needs one for the object. */
const MAX_PAIRS = 15;

function valueJson(row: string, { name, kind }: ColumnShape): string {
	const value = `${row}.${quoted(name)}`;
	switch (kind) {
		case "boolean":
			return `json(iif(${value} IS NULL, NULL, iif(${value} = 1, 'true', 'false')))`;
		case "json":
			return `iif(json_valid(CAST(${value} AS TEXT)), json(CAST(${value} AS TEXT)), NULL)`;
		case "seconds":
			return timeJson(value, value);
		case "milliseconds":
			return timeJson(value, `${value} / 1000.0`);
		case "text":
			return `CAST(${value} AS TEXT)`;
		default:
			// JSON cannot express bytes, which any column may hold, nor infinite numbers.
			return `iif(typeof(${value}) = 'blob' OR typeof(${value}) = 'real' AND ${value} IN (9e999, -9e999), NULL, ${value})`;
	}
}

/** Drizzle does not accept a text in place of a number, such as that of CURRENT_TIMESTAMP, as a time either. */
function timeJson(value: string, seconds: string): string {
	return `iif(typeof(${value}) IN ('integer', 'real'), strftime('%Y-%m-%dT%H:%M:%fZ', ${seconds}, 'unixepoch'), NULL)`;
}

function pathOf(key: string): string {
	return `$."${key}"`;
}

function chunksOf<Item>(items: readonly Item[], size: number): Item[][] {
	const starts = Array.from({ length: Math.ceil(items.length / size) }, (_, index) => index * size);
	return starts.map((start) => items.slice(start, start + size));
}
