/**
 * Decides which handlers a change is for, if one table has several filters.
 *
 * The server judges filters, and sends a change once, whichever of a connection's subscriptions it matches. If a table
 * has one filter, the server's decision is final. If it has several, they are evaluated again here, with the same
 * grammar:
 *
 * ```text
 * filter    := condition ("," condition)*                  all must hold
 * condition := column "=" ["not."] operator "." value
 * operator  := eq|neq|lt|lte|gt|gte|in|is|isdistinct       patterns cannot be judged here
 * ```
 * Only filters that the server has accepted come here, so the grammar is not checked again. Where the server's answer
 * depends on what the client cannot know, there is no answer rather than a wrong one.
 */

/** Thrown if only the server can decide. */
export class Undecidable extends Error {}

/** Whether a row matches. */
export function matches(filter: string, row: object): boolean {
	return split(filter.trim()).every((condition) => {
		const [, name = "", not, operator = "", value = ""] = /^(.*?)=(not\.)?(.*?)\.(.*)$/s.exec(condition) ?? [];
		const column = name.trim();
		// A missing column is unknown, and so is the negation of unknown.
		const cell = Object.hasOwn(row, column) ? row[column as never] : undefined;
		const holds = cell === undefined ? undefined : test(operator, value, cell);
		return holds !== undefined && holds !== !!not;
	});
}

/** SQL's three truth values: `undefined` is unknown. */
function test(operator: string, value: string, cell: unknown): boolean | undefined {
	switch (operator) {
		case "is":
			return is(value, cell);
		case "isdistinct":
			return cell === null || test("neq", value, cell);
		case "in": {
			const list = value.slice(1, -1).trim();
			const orders = (list ? split(list) : []).map((literal) => compare(cell, unquote(literal), true));
			return orders.includes(0) || (orders.includes(undefined) ? undefined : false);
		}
	}
	const accepted = { eq: [0], neq: [-1, 1], lt: [-1], lte: [-1, 0], gt: [1], gte: [0, 1] }[operator];
	if (!accepted) throw new Undecidable();
	const order = compare(cell, unquote(value), /eq/.test(operator));
	return order === undefined ? undefined : accepted.includes(order);
}

/** `is true` and similar are never unknown on a boolean column, and match nothing on another. */
function is(value: string, cell: unknown): boolean | undefined {
	if (value === "null") return cell === null;
	if (cell !== null && typeof cell !== "boolean") return undefined;
	return value === "unknown" ? cell === null : String(cell) === value;
}

/** The order of cell and literal: -1, 0 or 1; for equality, 0 or not; `undefined` if SQL would say unknown. */
function compare(cell: unknown, literal: string, isEquality: boolean): number | undefined {
	if (cell === null || typeof cell === "object") return undefined;
	const text = String(cell);
	const order = compareNumbers(text, literal);
	if (typeof cell === "boolean") {
		const truth = /^(true|t|yes|y|on|1)$/i.test(literal) ? 1 : /^(false|f|no|n|off|0)$/i.test(literal) ? 0 : undefined;
		return truth === undefined ? undefined : Math.sign(+cell - truth);
	}
	if (typeof cell === "number") {
		// JavaScript preserves fifteen digits of a number reliably.
		if (text.replace(/e.*|\D/g, "").length > 15) throw new Undecidable();
		return order;
	}
	// Numbers may be sent as strings; only the deployment's configuration knows which of the two a column is.
	const asText = compareTexts(text, literal);
	// For equality, it does not matter which of two different values is larger.
	const isOne = isEquality ? !order === !asText : order === asText;
	if (order !== undefined && !isOne) throw new Undecidable();
	return asText;
}

/** By code points, as UTF-8 is ordered; JavaScript compares UTF-16 units instead. */
function compareTexts(left: string, right: string): number {
	const [a, b] = [[...left], [...right]];
	const at = a.findIndex((character, index) => character !== b[index]);
	if (at < 0) return Math.sign(a.length - b.length);
	return Math.sign(a[at]!.codePointAt(0)! - (b[at]?.codePointAt(0) ?? -1));
}

function compareNumbers(left: string, right: string): number | undefined {
	const [a, b] = [decimal(left), decimal(right)];
	if (!a || !b) return undefined;
	return Math.sign(a.sign - b.sign || a.sign * (a.point - b.point || compareTexts(a.digits, b.digits)));
}

/** A decimal number of any length: `sign * 0.digits * 10^point`. */
function decimal(text: string): { sign: number; digits: string; point: number } | undefined {
	const match = /^(-?)(\d+)(?:\.(\d*))?(?:e([+-]?\d+))?$/i.exec(text);
	if (!match) return undefined;
	const [, minus, whole = "", fraction = "", exponent = 0] = match;
	const significant = (whole + fraction).replace(/^0+/, "");
	const point = significant && significant.length - fraction.length + +exponent;
	return { sign: significant ? (minus ? -1 : 1) : 0, digits: significant.replace(/0+$/, ""), point: +point };
}

/**
 * Splits at commas outside parentheses and quotes, and trims each part. A quote opens only after `.`, `(` or `,`; white
 * space is allowed after the last two.
 */
function split(text: string): string[] {
	const parts = [""];
	let [depth, isQuoted, isEscaped, previous] = [0, false, false, ","];
	for (const c of text) {
		if (isEscaped) isEscaped = false;
		else if (isQuoted) [isEscaped, isQuoted] = [c === "\\", c !== '"'];
		else if (c === '"') isQuoted = ".(,".includes(previous);
		else if (c === "(") depth += 1;
		else if (c === ")") depth = Math.max(0, depth - 1);
		if (c.trim() || !"(,".includes(previous)) previous = c;
		if (c === "," && !isQuoted && depth === 0) parts.push("");
		else parts[parts.length - 1] += c;
	}
	return parts.map((part) => part.trim());
}

function unquote(value: string): string {
	return value.startsWith('"') ? value.slice(1, -1).replace(/\\([^])/g, "$1") : value;
}
