/**
 * What is shown of a list before the server has it.
 */
import type { Position } from "../client/index.ts";

/**
 * A change that is shown at once: `put` some columns of a row, or the whole of a new one; or `remove` a row by its key.
 */
export type Draft<R> = { readonly put: Partial<R>; readonly remove?: never } | { readonly remove: Partial<R>; readonly put?: never };

/** A draft as the rows take it. */
export interface Drafted<R> {
	readonly row: Partial<R>;
	readonly isRemoved: boolean;
}

/** Takes a draft apart. */
export function drafted<R>({ put, remove }: Draft<R>): Drafted<R> {
	return { row: (put ?? remove)!, isRemoved: put === undefined };
}

/** The position in what an API has answered: the receipt itself, or one under `receipt`. */
export function receiptIn(answer: unknown): Position | undefined {
	const { receipt = answer } = (answer ?? {}) as { receipt?: unknown };
	const { epoch, offset } = (receipt ?? {}) as Partial<Position>;
	return typeof epoch === "string" && typeof offset === "number" ? { epoch, offset } : undefined;
}
