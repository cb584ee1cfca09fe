/**
 * The definition of a list.
 */

/** Where the rows come from, and which they are. */
export interface TableQuery<R extends object> {
	/** Reads all rows of the list, for example from the application's API. */
	query: (signal: AbortSignal) => Promise<readonly R[]>;
	/** The key of a row. Default: `row.id`. A deleted row may have only its key. */
	key?: (row: Partial<R>) => unknown;
	/** Which rows are in the list, evaluated on every change. Default: all of them. */
	where?: (row: R) => boolean;
	/** The order of the list. Default: that of the query, with new rows last. */
	sort?: (one: R, other: R) => number;
	/** The table's schema. Default: `public`. */
	schema?: string;
	/**
	 * The rows that the list covers (`project_id=eq.p1`), in the server's filter grammar. The server judges inserts.
	 * Updates and deletes are sent for the whole table, except for rows that the user may not see, and are judged here
	 * on the known row, because they may lack the column.
	 */
	filter?: string;
}
