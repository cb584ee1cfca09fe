/**
 * `useRealtime`: the state of the connection; `useChanges` and `useBroadcast`: handlers for the life of a component.
 */
import { useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import type {
	Broadcast,
	BroadcastIn,
	BroadcastOf,
	ChangeOf,
	ChangeType,
	Client,
	Definitions,
	EventName,
	Status,
	TableName,
	TableOptions,
	Topic,
} from "../client/index.ts";

/**
 * The state of the connection.
 *
 * @example
 * ```tsx
 * function Badge() {
 *   const { state, error } = useRealtime(client);
 *   return <span title={error?.message}>{state}</span>;
 * }
 * ```
 */
export function useRealtime(client: Pick<Client<any>, "on" | "status">): Status {
	const status = () => client.status;
	return useSyncExternalStore(client.on.status, status, status);
}

/**
 * Calls with the changes of a table while the component is mounted. The handler may be a new function in every render.
 *
 * @example
 * ```tsx
 * function Toasts() {
 *   useChanges(client, "claims", "INSERT", ({ new: claim }) => toast(claim.title), { filter: "status=eq.open" });
 *   return null;
 * }
 * ```
 */
export function useChanges<D extends Definitions, T extends TableName<D> | "*", E extends ChangeType | "*">(
	client: Client<D>,
	table: T,
	event: E,
	handler: (change: ChangeOf<D, T, E>) => unknown,
	{ schema, filter }: TableOptions = {},
): void {
	const latest = useLatest(handler);
	useEffect(() => {
		const options = { ...(schema !== undefined && { schema }), ...(filter !== undefined && { filter }) };
		return client.on(table, event, (change) => latest.current(change), options).off;
	}, [client, table, event, schema, filter]);
}

/**
 * Calls with the broadcasts to the organization, or to a topic, while the component is mounted. The handler may be a
 * new function in every render. With a topic, it returns the function that sends to it, which is the same in every
 * render.
 *
 * @example
 * ```tsx
 * function Extraction() {
 *   const [running, setRunning] = useState("none");
 *   useBroadcast(client, "extraction:started", ({ payload }) => setRunning(payload.materialId));
 *   const send = useBroadcast(client.topic("room:1"), "cursor", ({ payload }) => move(payload));
 *   return <p onMouseMove={(at) => send("cursor", { x: at.clientX, y: at.clientY })}>{running}</p>;
 * }
 * ```
 */
export function useBroadcast<D extends Definitions, E extends EventName<D> | "*">(
	client: Client<D>,
	event: E,
	handler: (broadcast: BroadcastOf<D, E>) => unknown,
): void;
export function useBroadcast<Events, E extends Extract<keyof Events, string> | "*">(
	topic: Topic<Events, any>,
	event: E,
	handler: (broadcast: BroadcastIn<Events, E>) => unknown,
): Topic<Events, any>["send"];
export function useBroadcast(place: Client | Topic, event: string, handler: (broadcast: any) => unknown): unknown {
	const latest = useLatest(handler);
	useEffect(() => {
		const handle = (broadcast: Broadcast) => latest.current(broadcast);
		return "topic" in place ? place.on.broadcast(event, handle) : place.on(event, handle).off;
	}, [place, event]);
	return useMemo(() => ("topic" in place ? undefined : place.send.bind(place)), [place]);
}

function useLatest<T>(value: T): { readonly current: T } {
	const latest = useRef(value);
	useEffect(() => {
		latest.current = value;
	});
	return latest;
}
