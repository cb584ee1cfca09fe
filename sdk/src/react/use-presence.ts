/**
 * `usePresence`: who is there.
 */
import { useEffect, useSyncExternalStore } from "react";
import type { Member, Presence } from "../client/index.ts";

/**
 * Everyone who is present in a topic or in the lobby. With metadata, this client is one of them for as long as the
 * component is mounted; only one component of a page should give it for the same place.
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
	// On its own, so that other metadata is an update and no leave.
	useEffect(() => (isTracked ? () => presence.untrack() : undefined), [presence, isTracked]);
	const members = () => presence.members;
	return useSyncExternalStore(subscriber(presence), members, members);
}

const subscribers = new WeakMap<Presence<any>, (listener: () => void) => () => void>();

/** One function for each presence, so that React does not subscribe anew in every render. */
function subscriber(presence: Presence<any>): (listener: () => void) => () => void {
	let subscribe = subscribers.get(presence);
	if (!subscribe) {
		subscribe = (listener) => presence.on(listener).off;
		subscribers.set(presence, subscribe);
	}
	return subscribe;
}
