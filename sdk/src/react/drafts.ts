/**
 * Changes that a list shows before the server has confirmed them.
 */
import type { Position } from "../client/index.ts";

/**
 * A change that is shown at once: `put` some columns of a row, or a whole new row; or `remove` a row by its key.
 */
export type Draft<R> = { readonly put: Partial<R>; readonly remove?: never } | { readonly remove: Partial<R>; readonly put?: never };

/** A draft as the rows apply it. */
export interface Drafted<R> {
	readonly row: Partial<R>;
	readonly isRemoved: boolean;
}

/** Splits a draft. */
export function drafted<R>({ put, remove }: Draft<R>): Drafted<R> {
	return { row: (put ?? remove)!, isRemoved: put === undefined };
}

/** The position in an API's answer: the receipt itself, or one under `receipt`. */
export function receiptIn(answer: unknown): Position | undefined {
	const { receipt = answer } = (answer ?? {}) as { receipt?: unknown };
	const { epoch, offset } = (receipt ?? {}) as Partial<Position>;
	return typeof epoch === "string" && typeof offset === "number" ? { epoch, offset } : undefined;
}
