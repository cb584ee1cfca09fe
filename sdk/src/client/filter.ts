/**
 * Tells which handlers a change is for, where one table is listened to through several filters.
 *
 * The server judges filters and sends a change once, whichever of a connection's subscriptions it matches. While a
 * table has one filter, its word is all that counts; this judges again where it has several, by the same grammar:
 *
 * ```text
 * filter    := condition ("," condition)*                        all must hold
 * condition := column "=" ["not."] operator "." value
 * operator  := eq|neq|lt|lte|gt|gte|in|like|ilike|is|isdistinct  match and imatch cannot be judged here
 * ```
 * Only filters that the server has accepted come here, so the grammar is not checked again.
 */
import { type ColumnType, compare, Undecidable } from "./compare.ts";

/** Bytes of a cell that a pattern is held against; the server's limit. */
const MOST_TEXT = 4_096;

type Condition = { column: string; negated: boolean; operator: string; value: string };

/**
 * Whether a row matches.
 *
 * @param typeOf the declared type of a column, as the deployment's configuration has it
 * @throws {Undecidable} where only the server can tell
 */
export function matches(filter: string, row: object, typeOf: (column: string) => ColumnType | undefined): boolean {
	return split(filter.trim()).every((text) => {
		const condition = parse(text);
		const cell = Object.hasOwn(row, condition.column) ? (row as Record<string, unknown>)[condition.column] : undefined;
		// A missing column is unknown, and so is the negation of unknown.
		const holds = cell === undefined ? undefined : test(condition, cell, typeOf(condition.column));
		return holds !== undefined && holds !== condition.negated;
	});
}

function parse(text: string): Condition {
	const [, column = "", not, operator = "", value = ""] = /^(.*?)=(not\.)?(.*?)\.(.*)$/s.exec(text) ?? [];
	return { column: column.trim(), negated: not !== undefined, operator, value };
}

/** SQL's three values: `undefined` is unknown. */
function test({ operator, value }: Condition, cell: unknown, declared?: ColumnType): boolean | undefined {
	const order = (literal: string) => compare(cell, literal, declared);
	const ordered = (accepts: (order: number) => boolean) => {
		const found = order(unquote(value));
		return found === undefined ? undefined : accepts(found);
	};
	switch (operator) {
		case "eq":
			return ordered((order) => order === 0);
		case "neq":
			return ordered((order) => order !== 0);
		case "lt":
			return ordered((order) => order < 0);
		case "lte":
			return ordered((order) => order <= 0);
		case "gt":
			return ordered((order) => order > 0);
		case "gte":
			return ordered((order) => order >= 0);
		case "isdistinct":
			return cell === null || ordered((order) => order !== 0);
		case "is":
			return is(value, cell, declared);
		case "in": {
			const orders = split(value.slice(1, -1)).map((literal) => order(unquote(literal)));
			return orders.includes(0) || (orders.includes(undefined) ? undefined : false);
		}
		case "like":
			return like(value, cell, (text) => text);
		case "ilike":
			return like(value, cell, (text) => text.toLowerCase());
		default:
			throw new Undecidable();
	}
}

/** `is true` and its like are never unknown on a boolean column, and mean nothing on another. */
function is(value: string, cell: unknown, declared?: ColumnType): boolean | undefined {
	if (value === "null") return cell === null;
	const isTruth = cell === null || typeof cell === "boolean";
	if (!isTruth || (declared ?? "boolean") !== "boolean") return undefined;
	return value === "unknown" ? cell === null : String(cell) === value;
}

/** `%` is any text, `_` any character, `\` takes the next one literally. */
function like(value: string, cell: unknown, fold: (text: string) => string): boolean | undefined {
	if (typeof cell !== "string" || new TextEncoder().encode(cell).length > MOST_TEXT) return undefined;
	const pattern = [...fold(unquote(value)).matchAll(/\\([^])|([^])/gu)];
	const text = [...fold(cell)];
	let [piece, place, backPiece, backPlace] = [0, 0, -1, 0];
	while (place < text.length) {
		const [, literal, plain] = pattern[piece] ?? [];
		if (plain === "%") {
			[backPiece, backPlace] = [++piece, place];
		} else if (pattern[piece] && (plain === "_" || (literal ?? plain) === text[place])) {
			piece += 1;
			place += 1;
		} else {
			// Back to the last `%` only: the time is bounded by the product of the lengths.
			if (backPiece < 0) return false;
			[piece, place] = [backPiece, ++backPlace];
		}
	}
	return pattern.slice(piece).every(([, , plain]) => plain === "%");
}

/** Splits at the commas outside parentheses and quotes. A quote opens only right after `.`, `(` or `,`. */
function split(text: string): string[] {
	const parts: string[] = [];
	let [start, depth, quoted, previous] = [0, 0, false, ","];
	for (let place = 0; place < text.length; place += 1) {
		const c = text[place]!;
		if (quoted) {
			if (c === "\\") place += 1;
			else if (c === '"') quoted = false;
		} else if (c === '"' && ".(,".includes(previous)) quoted = true;
		else if (c === "(") depth += 1;
		else if (c === ")") depth = Math.max(0, depth - 1);
		else if (c === "," && depth === 0) {
			parts.push(text.slice(start, place));
			start = place + 1;
		}
		previous = text[place] ?? "";
	}
	return [...parts, text.slice(start)];
}

function unquote(value: string): string {
	return value.startsWith('"') ? value.slice(1, -1).replace(/\\([^])/g, "$1") : value;
}
