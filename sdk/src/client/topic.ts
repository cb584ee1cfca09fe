/**
 * A topic: a room of the organization that one must enter to hear it.
 */
import type { Broadcast, BroadcastIn } from "./definitions.ts";
import type { Handler } from "./listeners.ts";
import { Presence } from "./presence.ts";
import type { Subscription, TopicTarget } from "./subscription.ts";
import type { Wiring } from "./wiring.ts";

/** How a message is sent to a topic. */
export interface SendOptions {
	/** Whether this client's own handlers hear it too; they do unless this is `false`. */
	echo?: boolean;
	/** An idempotency key: the same one of the same user within ten minutes is taken, and published once. */
	key?: string;
}

/** How a topic is entered. */
export interface TopicOptions {
	/**
	 * `false` for the space of public topics, which every user of the organization may enter. Otherwise the deployment's
	 * channel policies decide.
	 */
	private?: boolean;
}

type Named<Events> = Extract<keyof Events, string>;

/**
 * A topic of the organization. Changes that are published to it reach the handlers of `client.on`, once it is entered.
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
	/** Who is there. */
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
	 * Calls with every broadcast of this event (`"*"`: of any). The topic is entered for the first handler, and left
	 * after the last.
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
	 * Publishes to everyone in the topic, as the channel policies allow. It settles when the server has taken the message;
	 * without a connection it is refused (`disconnected`), and nothing is kept for later. When the connection ends before
	 * the answer, it is refused too, and only the others know whether the message came through: with a `key` it may be sent again. Messages are sent as fast as
	 * the server takes them; what is far too much is refused (`rate_limited`). A cursor is better a presence: only its
	 * latest place is sent.
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
