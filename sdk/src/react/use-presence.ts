/**
 * `usePresence`: the members of a topic or the lobby.
 */
import { useEffect, useSyncExternalStore } from "react";
import type { Member, Presence } from "../client/index.ts";

/**
 * All members of a topic or of the lobby. With metadata, this client is one of them while the component is mounted;
 * only one component of a page should pass metadata for the same topic.
 *
 * @example
 * ```tsx
 * function Avatars({ room, name }: { room: `room:${string}`; name: string }) {
 *   const members = usePresence(client.topic(room).presence, { name });
 *   return <>{members.map(({ client_id, metadata }) => <Avatar key={client_id} name={metadata.name} />)}</>;
 * }
 * ```
 */
export function usePresence<M>(presence: Presence<M>, metadata?: M): readonly Member<M>[] {
	const json = metadata === undefined ? undefined : JSON.stringify(metadata);
	useEffect(() => {
		if (json !== undefined) presence.track(JSON.parse(json));
	}, [presence, json]);
	const isTracked = json !== undefined;
	// Separate, so that other metadata causes an update and no leave.
	useEffect(() => (isTracked ? () => presence.untrack() : undefined), [presence, isTracked]);
	const members = () => presence.members;
	return useSyncExternalStore(subscriber(presence), members, members);
}

const subscribers = new WeakMap<Presence<any>, (listener: () => void) => () => void>();

/** One function for each presence, so that React does not subscribe again in every render. */
function subscriber(presence: Presence<any>): (listener: () => void) => () => void {
	let subscribe = subscribers.get(presence);
	if (!subscribe) {
		subscribe = (listener) => presence.on(listener).off;
		subscribers.set(presence, subscribe);
	}
	return subscribe;
}
