/**
 * A topic: a room of the organization whose messages reach only its subscribers.
 */
import type { Broadcast, BroadcastIn } from "./definitions.ts";
import type { Handler } from "./listeners.ts";
import { Presence } from "./presence.ts";
import type { Subscription, TopicTarget } from "./subscription.ts";
import type { Wiring } from "./wiring.ts";

/** How a message is sent to a topic. */
export interface SendOptions {
	/** Whether this client's own handlers receive it too. Default: `true`. */
	echo?: boolean;
	/**
	 * An idempotency key: a message that the same user repeats within ten minutes is acknowledged, but published only
	 * once.
	 */
	key?: string;
}

/** The options of a topic. */
export interface TopicOptions {
	/**
	 * `false` for a public topic, which every user of the organization may join. Otherwise the deployment's channel
	 * policies decide.
	 */
	private?: boolean;
}

type Named<Events> = Extract<keyof Events, string>;

/**
 * A topic of the organization. Changes that are published to it reach the handlers of `client.on`, once it is
 * subscribed to.
 *
 * @example
 * ```ts
 * const room = client.topic("room:1");
 * await room.on("cursor", ({ payload }) => move(payload)).ready;
 * await room.send("cursor", { x: 1, y: 2 }, { echo: false });
 * ```
 */
export class Topic<Events = Record<string, unknown>, M = Record<string, unknown>> {
	/** Its name. */
	readonly name: string;
	/** Whether the channel policies govern it. */
	readonly private: boolean;
	/** Its presence. */
	readonly presence: Presence<M>;
	#target: TopicTarget;
	#wiring: Wiring;

	/** @internal `client.topic()` makes them. */
	constructor(target: TopicTarget, wiring: Wiring) {
		this.name = target.topic;
		this.private = target.private;
		this.#target = target;
		this.#wiring = wiring;
		this.presence = new Presence(target, wiring);
	}

	/**
	 * Calls with every broadcast of this event (`"*"`: any). The first handler subscribes to the topic, and removing
	 * the last one unsubscribes.
	 *
	 * @example
	 * ```ts
	 * const room = client.topic("room:1");
	 * const subscription = room.on("*", ({ event, payload }) => console.log(event, payload));
	 * await subscription.ready;
	 * ```
	 */
	on<E extends Named<Events> | "*">(event: E, handler: Handler<BroadcastIn<Events, E>>): Subscription {
		return this.#wiring.subscribe(this.#target, (broadcast: Broadcast) => {
			if (event === "*" || event === broadcast.event) return handler(broadcast as BroadcastIn<Events, E>);
		});
	}

	/**
	 * Publishes to everyone in the topic, as the channel policies allow. Resolves when the server has accepted the
	 * message. Without a connection it rejects (`disconnected`), and nothing is queued for later. It also rejects when
	 * the connection ends before the answer, although the message may have been published; with a `key` it may be sent
	 * again. Messages are sent as fast as the server accepts them, and far too many are refused (`rate_limited`). A
	 * cursor is better sent as presence, of which only the latest state is sent.
	 *
	 * @example
	 * ```ts
	 * client.on.status(({ state }) => {
	 *   if (state === "connected") client.topic("room:1").send("cursor", { x: 1, y: 2 }).catch(log);
	 * });
	 * ```
	 */
	send<E extends Named<Events>>(event: E, payload: Events[E], { echo, key }: SendOptions = {}): Promise<void> {
		return this.#wiring.request({ type: "broadcast", ...this.#target, event, payload, echo, key });
	}
}
