/**
 * A table as a collection of TanStack DB, or as a query of TanStack Query.
 *
 * @module
 */
import type { Client, Definitions, RowOf, TableName } from "../client/index.ts";
import type { TableQuery } from "../react/table-query.ts";
import { TableStore } from "../react/table-store.ts";

/** Which rows the collection has. `key` tells them apart: `row.id` unless given. */
export type CollectionQuery<R extends object> = Omit<TableQuery<R>, "key" | "sort"> & {
	readonly key?: (row: Partial<R>) => string | number;
};

/** What `sync` of a collection is given, as far as it is used. */
interface Sync<R> {
	begin(): void;
	write(message: { type: "insert" | "update" | "delete"; value: R }): void;
	commit(): void;
	markReady(): void;
}

/** What `createCollection` of TanStack DB takes. */
export interface CollectionOptions<R extends object> {
	readonly id: string;
	readonly getKey: (row: R) => string | number;
	readonly sync: { readonly sync: (sync: Sync<R>) => () => void; readonly rowUpdateMode: "full" };
}

/**
 * Options for `createCollection`: the rows are read once by a query, then kept current by the stream. Handlers for writing go
 * beside them; one that ends with `await client.caughtUp(receipt)` shows no flicker.
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
			// What cannot be read is as ready as it will be; the query goes on being tried.
			if (status !== "loading") into.markReady();
		});
	};
	const id = `realtime:${options.schema ?? "public"}.${table}:${options.filter ?? ""}`;
	return { id, getKey, sync: { sync, rowUpdateMode: "full" } };
}

/** Writes what has changed between two states of the list; gives the later one. A row that is the same object is the same. */
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

/** What is used of TanStack Query's `QueryClient`. */
export interface QueryCache {
	setQueryData(queryKey: readonly unknown[], data: unknown): unknown;
}

/**
 * Keeps a query of TanStack Query current: the rows are read by its function, kept current by the stream, and put where
 * `useQuery` with the same key finds them. Give that `staleTime: Infinity`, for it need not read again.
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
		// A query that has failed, and has nothing yet, leaves what is there.
		if (status === "live" || status === "stale") cache.setQueryData(queryKey, rows);
	});
}
