/**
 * The rows of a list, and how changes are merged into them.
 *
 * A change may hold only some of a row's columns. These replace the known values, and the others remain; a filter is
 * judged on the merged row.
 */
import { type Change, judge } from "../client/index.ts";
import type { Drafted } from "./drafts.ts";
import type { TableQuery } from "./table-query.ts";

/** Rows by their key, in the order of the query. */
export class Rows<R extends object> {
	#rows = new Map<unknown, R>();
	/** The columns of complete rows, by which changes of unknown rows are judged. */
	#columns = new Set<string>();
	#options: () => TableQuery<R>;

	constructor(options: () => TableQuery<R>) {
		this.#options = options;
	}

	/** The query's answer replaces what was known. */
	replace(answer: readonly R[]): void {
		this.#rows = new Map(answer.map((row) => [this.key(row), row]));
		for (const row of answer) this.#learn(row);
	}

	/** Merges a change. `false`: only the query can tell what it means for the list. */
	apply(change: Change<R>): boolean {
		const { new: row, old } = change;
		const before = old ? this.key(old) : undefined;
		if (!row) {
			this.#rows.delete(before);
			return true;
		}
		const key = this.key(row);
		if (key === undefined) return false;
		const held = this.#rows.get(key) ?? this.#rows.get(before);
		if (before !== key) this.#rows.delete(before);
		// The server has judged the filter of an insert, which is always whole.
		if (change.eventType === "INSERT") {
			this.#learn(row);
			return this.#put(key, { ...held, ...row }, true);
		}
		if (!held && !this.#isWhole(row)) return !this.#mayBelong(row);
		const merged = { ...held, ...row };
		const verdict = this.#judge(merged) ?? (held && true);
		return verdict !== undefined && this.#put(key, merged, verdict);
	}

	/** The rows, with `drafts` applied. */
	list(drafts: Iterable<Drafted<R>>): R[] {
		const { where = () => true, sort } = this.#options();
		const rows = new Map(this.#rows);
		for (const { row, isRemoved } of drafts) {
			const key = this.key(row);
			const merged = { ...rows.get(key), ...row } as R;
			if (!isRemoved && where(merged)) rows.set(key, merged);
			else rows.delete(key);
		}
		const list = [...rows.values()];
		return sort ? list.sort(sort) : list;
	}

	/** The key of a row. */
	key(row: Partial<R>): unknown {
		const { key } = this.#options();
		return key ? key(row) : (row as { id?: unknown }).id;
	}

	#put(key: unknown, row: R, passes: boolean): true {
		const { where = () => true } = this.#options();
		if (passes && where(row)) this.#rows.set(key, row);
		else this.#rows.delete(key);
		return true;
	}

	/** Whether a row that is not in the list, and some of whose columns are unknown, may now belong to it. */
	#mayBelong(row: R): boolean {
		const { filter, where } = this.#options();
		const verdict = this.#judge(row);
		// The filter's columns never change without being sent. If they are unknown, they keep the row out.
		return verdict ?? (filter === undefined || where !== undefined);
	}

	#judge(row: R): boolean | undefined {
		const { filter } = this.#options();
		return filter === undefined || !filter.trim() ? true : judge(filter, row);
	}

	#isWhole(row: R): boolean {
		return this.#columns.size > 0 && [...this.#columns].every((column) => Object.hasOwn(row, column));
	}

	#learn(row: R): void {
		for (const column of Object.keys(row)) this.#columns.add(column);
	}
}
