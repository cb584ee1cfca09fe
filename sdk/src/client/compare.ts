/**
 * Compares a cell with a filter's literal as the server does: numbers of any length exactly, the rest as text.
 */

/** Thrown where the server's answer depends on what the client cannot know. */
export class Undecidable extends Error {}

/** What a declared PostgreSQL type means for comparisons. */
export type ColumnType = "number" | "boolean" | "text";

const NUMBERS =
	/^(int[248]|float[48]|numeric|oid|smallint|integer|bigint|real|double precision|decimal)$/;

/** The comparison that suits a type name of `pg_type`, such as `int8`. */
export function columnType(name: string | undefined): ColumnType | undefined {
	if (name === undefined) return undefined;
	if (NUMBERS.test(name)) return "number";
	return /^bool(ean)?$/.test(name) ? "boolean" : "text";
}

/** How the cell stands to the literal: below, at or above zero; `undefined` where SQL would say unknown. */
export function compare(cell: unknown, literal: string, declared?: ColumnType): number | undefined {
	if (cell === null || typeof cell === "object") return undefined;
	const text = String(cell);
	if (typeof cell === "number" && !isExact(cell, declared)) throw new Undecidable();
	switch (declared ?? (typeof cell === "string" ? undefined : typeof cell)) {
		case "number":
			return compareNumbers(text, literal);
		case "boolean":
			return compareTruths(text, literal);
		case "text":
			return compareTexts(text, literal);
		default:
			return compareNumbers(text, literal) ?? compareTexts(text, literal);
	}
}

/** Whether JavaScript's number is the one that was sent: it keeps fifteen digits, and not how they were written. */
function isExact(cell: number, declared: ColumnType | undefined): boolean {
	const digits = String(Math.abs(cell)).replace(/e.*|\./g, "").replace(/^0+/, "");
	return declared !== "text" && digits.length <= 15;
}

function compareTruths(text: string, literal: string): number | undefined {
	const [left, right] = [text, literal].map((one) => ({ true: 1, t: 1, false: 0, f: 0 })[one]);
	return left === undefined || right === undefined ? undefined : left - right;
}

/** By code points, as bytes of UTF-8 compare; JavaScript's own order puts U+E000 to U+FFFF last. */
function compareTexts(left: string, right: string): number {
	let at = 0;
	while (at < left.length && left[at] === right[at]) at += 1;
	const [a, b] = [left, right].map((text) => text.charCodeAt(at));
	// Past the end it is NaN, and the shorter text is the smaller.
	if (!(a! >= 0 && b! >= 0)) return left.length - right.length;
	const isHalf = (unit: number) => unit >> 11 === 0x1b;
	return isHalf(a!) === isHalf(b!) ? a! - b! : isHalf(a!) ? 1 : -1;
}

function compareNumbers(left: string, right: string): number | undefined {
	const [a, b] = [decimal(left), decimal(right)];
	if (!a || !b) return undefined;
	return a.sign - b.sign || a.sign * (a.point - b.point || compareTexts(a.digits, b.digits));
}

/** A decimal number of any length: `sign * 0.digits * 10^point`. */
function decimal(text: string): { sign: number; digits: string; point: number } | undefined {
	const match = /^(-?)(\d+)\.?(?:(?<=\.)(\d*))?(?:e([+-]?\d+))?$/i.exec(text);
	if (!match) return undefined;
	const [, minus, whole = "", fraction = "", exponent = "0"] = match;
	const all = whole + fraction;
	const digits = all.replace(/^0+/, "");
	if (!digits) return { sign: 0, digits, point: 0 };
	const point = whole.length + Number(exponent) - (all.length - digits.length);
	return { sign: minus ? -1 : 1, digits: digits.replace(/0+$/, ""), point };
}
