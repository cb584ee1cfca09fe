/**
 * Stores for Svelte, following its store contract. Create the client outside of components, with `createClient`.
 *
 * @module
 */
import type { BroadcastIn, Client, Definitions, Member, Off, Presence, RowOf, Status, TableName, Topic } from "../client/index.ts";
import type { TableQuery } from "../react/table-query.ts";
import { type TableState, TableStore } from "../react/table-store.ts";

export type { TableQuery, TableState };

/** A read-only store: `$store` in a component. */
export interface Readable<T> {
	subscribe(run: (value: T) => void): Off;
}

/** A store that holds a list. */
export type TableReadable<R extends object> = Readable<TableState<R>> & Pick<TableStore<R>, "refetch" | "mutate">;

/**
 * A list of rows: read once by a query, then kept current by the stream while a component subscribes to it.
 *
 * @example
 * ```ts
 * import { createClient } from "realtime-worker/client";
 * import { table } from "realtime-worker/svelte";
 *
 * const client = createClient("https://realtime.example.com", { organizationId: "org_1", token: "…" });
 * const claims = table(client, "claims", { query: () => fetch("/api/claims").then((answer) => answer.json()) });
 * claims.subscribe(({ rows, status }) => console.log(status, rows)); // in a component, `$claims`
 * ```
 */
export function table<D extends Definitions, T extends TableName<D>>(
	client: Client<D>,
	name: T,
	options: TableQuery<RowOf<D, T> & object>,
): TableReadable<RowOf<D, T> & object> {
	const store = new TableStore<RowOf<D, T> & object>(client, name, () => options);
	return { ...readable(store.state, store.subscribe), refetch: store.refetch, mutate: store.mutate };
}

/** The state of the connection. */
export function status(client: Pick<Client<any>, "on" | "status">): Readable<Status> {
	return readable(() => client.status, client.on.status);
}

/** All members; with metadata, this client is one of them while a component subscribes. */
export function presence<M>(place: Presence<M>, metadata?: M): Readable<readonly Member<M>[]> {
	let lookers = 0;
	return readable(
		() => place.members,
		(listener) => {
			const { off } = place.on(listener);
			if (metadata !== undefined && ++lookers === 1) place.track(metadata);
			return () => {
				if (metadata !== undefined && --lookers === 0) place.untrack();
				off();
			};
		},
	);
}

/**
 * The latest broadcast of a topic, `undefined` before the first; the topic is subscribed to while a component uses the
 * store.
 *
 * @example
 * ```ts
 * import { broadcast } from "realtime-worker/svelte";
 *
 * const cursor = broadcast(client.topic("room:1"), "cursor");
 * cursor.subscribe((latest) => move(latest?.payload)); // in a component, `$cursor`
 * ```
 */
export function broadcast<Events, E extends Extract<keyof Events, string> | "*">(
	topic: Topic<Events, any>,
	event: E,
): Readable<BroadcastIn<Events, E> | undefined> {
	let latest: BroadcastIn<Events, E> | undefined;
	return readable(
		() => latest,
		(tell) => {
			const { off } = topic.on(event, (one) => {
				latest = one;
				tell();
			});
			return off;
		},
	);
}

/** A server that renders a page subscribes once, and opens no connection. */
function readable<T>(value: () => T, listen: (listener: () => void) => Off): Readable<T> {
	return {
		subscribe(run) {
			run(value());
			return typeof document === "undefined" ? () => {} : listen(() => run(value()));
		},
	};
}
