/**
 * `useTopic`: subscribes to a topic for the life of a component.
 */
import { useEffect, useRef, useState } from "react";
import type { Broadcast, RealtimeError, Topic } from "../client/index.ts";

/** The state of a topic: subscribing, subscribed, or refused for now. */
export interface TopicState {
	readonly status: "entering" | "entered" | "refused";
	/** Why it was refused. */
	readonly error?: RealtimeError;
}

type Named<Events> = Extract<keyof Events, string>;
type Heard<Events, E> = E extends Named<Events> ? Broadcast<Events[E], E> : { [K in Named<Events>]: Broadcast<Events[K], K> }[Named<Events>];

const ENTERING: TopicState = { status: "entering" };

/**
 * Subscribes to a topic while the component is mounted, and calls with its broadcasts of one event or of any (`"*"`).
 * The handler may be a new function in every render.
 *
 * @example
 * ```tsx
 * function Cursor() {
 *   const [x, setX] = useState(0);
 *   const { status } = useTopic(client.topic("room:1"), "cursor", ({ payload }) => setX(payload.x));
 *   return <p>{status} {x}</p>;
 * }
 * ```
 */
export function useTopic<Events, E extends Named<Events> | "*">(
	topic: Topic<Events, any>,
	event: E,
	handler: (broadcast: Heard<Events, E>) => unknown,
): TopicState {
	const latest = useRef(handler);
	useEffect(() => {
		latest.current = handler;
	});
	const [state, setState] = useState(ENTERING);
	useEffect(() => {
		const subscription = topic.on(event, (broadcast) => latest.current(broadcast as Heard<Events, E>));
		const unwatch = subscription.watch((error) => setState(error ? { status: "refused", error } : { status: "entered" }));
		return () => {
			unwatch();
			subscription.off();
			setState(ENTERING);
		};
	}, [topic, event]);
	return state;
}
