/**
 * A table as a collection of TanStack DB, or as a query of TanStack Query.
 *
 * @module
 */
import type { Client, Definitions, RowOf, TableName } from "../client/index.ts";
import type { TableQuery } from "../react/table-query.ts";
import { TableStore } from "../react/table-store.ts";

/** The rows of the collection. `key` identifies them. Default: `row.id`. */
export type CollectionQuery<R extends object> = Omit<TableQuery<R>, "key" | "sort"> & {
	readonly key?: (row: Partial<R>) => string | number;
};

/** The arguments of a collection's `sync`, as far as they are used. */
interface Sync<R> {
	begin(): void;
	write(message: { type: "insert" | "update" | "delete"; value: R }): void;
	commit(): void;
	markReady(): void;
}

/** The options of TanStack DB's `createCollection`. */
export interface CollectionOptions<R extends object> {
	readonly id: string;
	readonly getKey: (row: R) => string | number;
	readonly sync: { readonly sync: (sync: Sync<R>) => () => void; readonly rowUpdateMode: "full" };
}

/**
 * Options for `createCollection`: the rows are read once by a query, then kept current by the stream. Add handlers for
 * writing beside them; one that ends with `await client.caughtUp(receipt)` causes no flicker.
 *
 * @example
 * ```ts
 * import { createCollection } from "@tanstack/db";
 * import { createClient } from "realtime-worker/client";
 * import { collection } from "realtime-worker/tanstack";
 *
 * type App = { tables: { claims: { id: string; title: string } } };
 * const client = createClient<App>("https://realtime.example.com", { organizationId: "org_1", token: "…" });
 * const query = () => fetch("/api/claims").then((answer) => answer.json());
 * const claims = createCollection(collection(client, "claims", { query }));
 * console.log(claims.size);
 * ```
 */
export function collection<D extends Definitions, T extends TableName<D>>(
	client: Client<D>,
	table: T,
	options: CollectionQuery<RowOf<D, T> & object>,
): CollectionOptions<RowOf<D, T> & object> {
	type R = RowOf<D, T> & object;
	const getKey = (row: R) => (options.key ? options.key(row) : (row as unknown as { id: string | number }).id);
	const sync = (into: Sync<R>) => {
		const store = new TableStore<R>(client, table, () => options);
		let known = new Map<string | number, R>();
		return store.subscribe(() => {
			const { rows, status } = store.state();
			known = difference(known, new Map(rows.map((row) => [getKey(row), row])), into);
			// If reading fails, the collection counts as ready; the query is retried.
			if (status !== "loading") into.markReady();
		});
	};
	const id = `realtime:${options.schema ?? "public"}.${table}:${options.filter ?? ""}`;
	return { id, getKey, sync: { sync, rowUpdateMode: "full" } };
}

/** Writes the differences between two states of the list; returns the later one. Identical objects are identical rows. */
function difference<R>(before: Map<string | number, R>, now: Map<string | number, R>, { begin, write, commit }: Sync<R>): Map<string | number, R> {
	begin();
	for (const [key, value] of before) if (!now.has(key)) write({ type: "delete", value });
	for (const [key, value] of now) {
		const held = before.get(key);
		if (held !== value) write({ type: held ? "update" : "insert", value });
	}
	commit();
	return now;
}

/** The part of TanStack Query's `QueryClient` that is used. */
export interface QueryCache {
	setQueryData(queryKey: readonly unknown[], data: unknown): unknown;
}

/**
 * Keeps a query of TanStack Query current: its function reads the rows, the stream keeps them current, and `useQuery`
 * with the same key finds them. Set `staleTime: Infinity` there, because it need not read again.
 *
 * @returns ends it
 *
 * @example
 * ```ts
 * import { QueryClient } from "@tanstack/query-core";
 * import { createClient } from "realtime-worker/client";
 * import { followQuery } from "realtime-worker/tanstack";
 *
 * type App = { tables: { claims: { id: string; title: string } } };
 * const client = createClient<App>("https://realtime.example.com", { organizationId: "org_1", token: "…" });
 * const cache = new QueryClient();
 * const query = () => fetch("/api/claims").then((answer) => answer.json());
 * const end = followQuery(cache, ["claims"], client, "claims", { query });
 * ```
 */
export function followQuery<D extends Definitions, T extends TableName<D>>(
	cache: QueryCache,
	queryKey: readonly unknown[],
	client: Client<D>,
	table: T,
	options: TableQuery<RowOf<D, T> & object>,
): () => void {
	const store = new TableStore<RowOf<D, T> & object>(client, table, () => options);
	return store.subscribe(() => {
		const { rows, status } = store.state();
		// A query that has failed and has no data leaves the cache unchanged.
		if (status === "live" || status === "stale") cache.setQueryData(queryKey, rows);
	});
}
