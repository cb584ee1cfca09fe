/**
 * What a list is asked for.
 */

/** Where the rows come from and which they are. */
export interface TableQuery<R extends object> {
	/** Reads all rows of the list, as from the application's API. */
	query: (signal: AbortSignal) => Promise<readonly R[]>;
	/** What tells rows apart; `row.id` unless given. Of a deleted row there may be no more than that. */
	key?: (row: Partial<R>) => unknown;
	/** Which rows are in the list, judged on every change. Without it, all of them. */
	where?: (row: R) => boolean;
	/** The order of the list. Without it, that of the query, with new rows last. */
	sort?: (one: R, other: R) => number;
	/** The table's schema; `public` unless given. */
	schema?: string;
	/**
	 * Which rows the list is of (`project_id=eq.p1`), by the server's filter grammar. Inserts are judged by the server.
	 * Updates and deletes are sent for the whole table and judged here on the row as it is known, for they may lack the
	 * column; what the user may not see is not among them.
	 */
	filter?: string;
}
