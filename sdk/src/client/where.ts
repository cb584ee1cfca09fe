/**
 * Filters in code: columns and values are typed, and quoted as the server's grammar requires.
 */

declare const rowType: unique symbol;

/** A filter of the server's grammar. The option `filter` accepts it, or any text. */
export type Filter<Row = any> = string & { readonly [rowType]?: (row: Row) => void };

/** The values that a column is compared with. */
export type Scalar = string | number | bigint | boolean;

type Column<Row> = Extract<keyof Row, string>;
/** The values that a column can hold, without `null`, and the texts that it can be compared with. */
type Value<Row, C extends keyof Row> = unknown extends Row[C] ? Scalar : Extract<Row[C], Scalar>;

/** The conditions, one for each operator of the grammar. As in SQL, a comparison with `null` does not hold. */
export interface Where<Row> {
	/** Equals. */
	eq<C extends Column<Row>>(column: C, value: Value<Row, C>): Filter<Row>;
	/** Does not equal, and is not `null`. */
	neq<C extends Column<Row>>(column: C, value: Value<Row, C>): Filter<Row>;
	/** Is less. */
	lt<C extends Column<Row>>(column: C, value: Value<Row, C>): Filter<Row>;
	/** Is less or equal. */
	lte<C extends Column<Row>>(column: C, value: Value<Row, C>): Filter<Row>;
	/** Is greater. */
	gt<C extends Column<Row>>(column: C, value: Value<Row, C>): Filter<Row>;
	/** Is greater or equal. */
	gte<C extends Column<Row>>(column: C, value: Value<Row, C>): Filter<Row>;
	/** Equals one of at most 100. */
	in<C extends Column<Row>>(column: C, values: readonly Value<Row, C>[]): Filter<Row>;
	/** Is `null`, `true`, `false` or `unknown`. */
	is(column: Column<Row>, value: null | boolean | "unknown"): Filter<Row>;
	/** Matches: `%` is any text, `_` any character. */
	like(column: Column<Row>, pattern: string): Filter<Row>;
	/** Matches in any case. */
	ilike(column: Column<Row>, pattern: string): Filter<Row>;
	/** Matches a regular expression. */
	match(column: Column<Row>, pattern: string): Filter<Row>;
	/** Matches a regular expression in any case. */
	imatch(column: Column<Row>, pattern: string): Filter<Row>;
	/** Differs, where `null` counts as a value. */
	isdistinct<C extends Column<Row>>(column: C, value: Value<Row, C>): Filter<Row>;
	/** Negates one condition. */
	not(condition: Filter<Row>): Filter<Row>;
	/** Combines conditions: all must hold. */
	and(...conditions: Filter<Row>[]): Filter<Row>;
}

/**
 * Conditions for the option `filter`. `where<Claim>()` knows the columns of a row; `where()` takes any.
 *
 * @throws {TypeError} for a column whose name the grammar cannot hold, and for the opposite of several conditions
 *
 * @example
 * ```ts
 * const claim = where<{ id: string; status: "open" | "closed"; title: string }>();
 * client.on("claims", "INSERT", ({ new: claim }) => console.log(claim.title), {
 *   filter: claim.and(claim.eq("status", "open"), claim.not(claim.like("title", "Draft%"))),
 * });
 * ```
 */
export function where<Row = Record<string, unknown>>(): Where<Row> {
	const compare = (operator: string) => (column: string, value: unknown) => condition(column, `${operator}.${literal(value)}`);
	const operators = ["eq", "neq", "lt", "lte", "gt", "gte", "like", "ilike", "match", "imatch", "isdistinct"];
	const rest = {
		in: (column: string, values: readonly unknown[]) => condition(column, `in.(${values.map(literal).join()})`),
		is: (column: string, value: unknown) => condition(column, `is.${value}`),
		not: negate,
		and: (...conditions: string[]) => conditions.filter(Boolean).join(),
	};
	return { ...Object.fromEntries(operators.map((operator) => [operator, compare(operator)])), ...rest } as unknown as Where<Row>;
}

function condition(column: string, test: string): string {
	if (!column || column !== column.trim() || /[=,()"]/.test(column)) throw new TypeError(`No filter can name the column ${column}.`);
	return `${column}=${test}`;
}

function negate(filter: string): string {
	// The negation of several conditions is not a filter of this grammar.
	const [, column, not, test] = /^([^=]*)=(not\.)?((?:"(?:[^"\\]|\\[^])*"|\((?:"(?:[^"\\]|\\[^])*"|[^"])*\)|[^,"(])*)$/.exec(filter) ?? [];
	if (test === undefined) throw new TypeError("Only one condition has an opposite.");
	return not ? `${column}=${test}` : `${column}=not.${test}`;
}

/**
 * A value in quotes, unless it is plain: otherwise surrounding white space, commas and parentheses would not be part of
 * it.
 */
function literal(value: unknown): string {
	const text = String(value);
	return /^[\w+-][\w.:+-]*$/.test(text) ? text : `"${text.replace(/["\\]/g, "\\$&")}"`;
}
