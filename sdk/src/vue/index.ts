/**
 * Composables for Vue 3.3 and later. Create the client outside of components, with `createClient`.
 *
 * @module
 */
import { getCurrentInstance, onMounted, onScopeDispose, readonly, type ShallowRef, shallowRef } from "vue";
import type {
	BroadcastIn,
	ChangeOf,
	ChangeType,
	Client,
	Definitions,
	Member,
	Off,
	Presence,
	RowOf,
	Status,
	TableName,
	TableOptions,
	Topic,
} from "../client/index.ts";
import type { TableQuery } from "../react/table-query.ts";
import { type TableState, TableStore } from "../react/table-store.ts";

export type { TableQuery, TableState };

/** The result of {@link useTable}. */
export interface TableRef<R extends object> extends Pick<TableStore<R>, "refetch" | "mutate"> {
	/** The list and its state. */
	readonly state: Readonly<ShallowRef<TableState<R>>>;
}

/**
 * A list of rows: read once by a query, then kept current by the stream.
 *
 * @example
 * ```ts
 * import { createClient } from "realtime-worker/client";
 * import { useTable } from "realtime-worker/vue";
 *
 * const client = createClient("https://realtime.example.com", { organizationId: "org_1", token: "…" });
 * const { state } = useTable(client, "claims", { query: () => fetch("/api/claims").then((answer) => answer.json()) });
 * console.log(state.value.rows);
 * ```
 */
export function useTable<D extends Definitions, T extends TableName<D>>(
	client: Client<D>,
	table: T,
	options: TableQuery<RowOf<D, T> & object>,
): TableRef<RowOf<D, T> & object> {
	const store = new TableStore<RowOf<D, T> & object>(client, table, () => options);
	const state = shallowRef(store.state());
	live(() => store.subscribe(() => (state.value = store.state())));
	return { state: readonly(state) as TableRef<RowOf<D, T> & object>["state"], refetch: store.refetch, mutate: store.mutate };
}

/** The state of the connection. */
export function useRealtime(client: Pick<Client<any>, "on" | "status">): Readonly<ShallowRef<Status>> {
	const status = shallowRef(client.status);
	live(() => client.on.status((now) => (status.value = now)));
	return status;
}

/** Calls with the changes of a table for the life of the component. */
export function useChanges<D extends Definitions, T extends TableName<D> | "*", E extends ChangeType | "*">(
	client: Client<D>,
	table: T,
	event: E,
	handler: (change: ChangeOf<D, T, E>) => unknown,
	options: TableOptions = {},
): void {
	live(() => client.on(table, event, handler, options).off);
}

/**
 * Calls with the broadcasts of a topic for the life of the component, and returns the function that sends to it.
 *
 * @example
 * ```ts
 * import { useBroadcast } from "realtime-worker/vue";
 *
 * const send = useBroadcast(client.topic("room:1"), "cursor", ({ payload }) => move(payload));
 * ```
 */
export function useBroadcast<Events, E extends Extract<keyof Events, string> | "*">(
	topic: Topic<Events, any>,
	event: E,
	handler: (broadcast: BroadcastIn<Events, E>) => unknown,
): Topic<Events, any>["send"] {
	live(() => topic.on(event, handler).off);
	return topic.send.bind(topic);
}

/** All members; with metadata, this client is one of them for the life of the component. */
export function usePresence<M>(presence: Presence<M>, metadata?: M): Readonly<ShallowRef<readonly Member<M>[]>> {
	const members = shallowRef<readonly Member<M>[]>(presence.members);
	live(() => {
		const { off } = presence.on((now) => (members.value = now));
		if (metadata !== undefined) presence.track(metadata);
		return () => {
			if (metadata !== undefined) presence.untrack();
			off();
		};
	});
	return members;
}

/** Starts something in a page, but not while a server renders it, and stops it with the component. */
function live(start: () => Off): void {
	let stop: Off | undefined;
	const begin = () => void (stop = start());
	if (getCurrentInstance()) onMounted(begin);
	else begin();
	onScopeDispose(() => stop?.());
}
