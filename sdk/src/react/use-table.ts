/**
 * `useTable`: a list of rows that is kept current.
 */
import { useEffect, useRef, useState, useSyncExternalStore } from "react";
import type { Client, Definitions, RowOf, TableName } from "../client/index.ts";
import type { Draft } from "./drafts.ts";
import type { TableQuery } from "./table-query.ts";
import { type TableState, TableStore } from "./table-store.ts";

/** The result of {@link useTable}. */
export interface TableView<R> extends TableState<R> {
	/** Reads the list again. */
	readonly refetch: () => Promise<void>;
	/**
	 * Shows a change at once, commits it, and keeps showing it until the list has received the change itself, so
	 * nothing flickers. If `commit` fails, the change is undone and this rejects. `commit` should resolve to the
	 * receipt of the publication, or to an object with it as `receipt`; otherwise the list is read again.
	 */
	readonly mutate: <T>(draft: Draft<R>, commit: () => Promise<T>) => Promise<T>;
}

/**
 * A list of rows: read once by a query, then kept current by the stream; read again after a gap. A reconnect neither
 * loses nor duplicates anything.
 *
 * @param deps what the query depends on: another list when one of them changes, as for `useEffect`
 *
 * @example
 * ```tsx
 * function OpenClaims({ projectId }: { projectId: string }) {
 *   const { rows, status } = useTable(
 *     client,
 *     "claims",
 *     {
 *       query: (signal) => fetch(`/api/claims?status=open&project=${projectId}`, { signal }).then((answer) => answer.json()),
 *       filter: `project_id=eq.${projectId}`, // the rows of one project
 *       where: (claim) => claim.status === "open", // of which those that are open
 *       sort: (one, other) => one.title.localeCompare(other.title),
 *     },
 *     [projectId],
 *   );
 *   return <ul data-status={status}>{rows.map((claim) => <li key={claim.id}>{claim.title}</li>)}</ul>;
 * }
 * ```
 */
export function useTable<D extends Definitions, T extends TableName<D>>(
	client: Client<D>,
	table: T,
	options: TableQuery<RowOf<D, T> & object>,
	deps: readonly unknown[] = [],
): TableView<RowOf<D, T> & object> {
	type R = RowOf<D, T> & object;
	const latest = useRef(options);
	useEffect(() => {
		latest.current = options;
	});
	const identity = [client, table, options.schema, options.filter, ...deps];
	const make = () => ({ identity, store: new TableStore<R>(client, table, () => latest.current) });
	const [held, hold] = useState(make);
	let { store } = held;
	if (identity.length !== held.identity.length || identity.some((one, index) => !Object.is(one, held.identity[index]))) {
		const made = make();
		({ store } = made);
		// React renders again at once, before anything is shown.
		hold(made);
	}
	const state = useSyncExternalStore(store.subscribe, store.state, store.state);
	return { ...state, refetch: store.refetch, mutate: store.mutate };
}
