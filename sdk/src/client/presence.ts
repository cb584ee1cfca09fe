/**
 * Who is there: in a topic, or in the organization's lobby.
 */
import type { Member, PresenceFrame } from "./frame.ts";
import { type Handler, Listeners } from "./listeners.ts";
import type { Subscription, TopicTarget } from "./subscription.ts";
import type { Wiring } from "./wiring.ts";

/**
 * Those present in a topic (`client.topic("room:1").presence`), or in the lobby (`client.presence`).
 *
 * The list stays as it was while the connection is down and is replaced when it is back; so are this client's own
 * presences, under a new `client_id`. A refusal comes through `client.on.error`.
 *
 * @example
 * ```ts
 * const { presence } = client.topic("room:1");
 * presence.on((members) => render(members.map(({ metadata }) => metadata.name)));
 * presence.track({ name: "Ada" });
 * ```
 */
export class Presence<M = Record<string, unknown>> {
	/** Everyone there, this client too where it is tracked. A new array for every change. */
	members: readonly Member<M>[] = [];
	#place: TopicTarget | object;
	#wiring: Wiring;
	#listeners: Listeners<readonly Member<M>[]>;
	/** What this client says of itself, and what the connection of now was told, as JSON. */
	#wanted: string | undefined;
	#told: string | undefined;
	/** Whether the server has taken it: only then is there something to update. */
	#isTracked = false;
	/** It is its turn soon; what is said then is the latest. */
	#isWaiting = false;

	/** @internal Clients and topics have theirs. */
	constructor(place: TopicTarget | object, wiring: Wiring) {
		this.#place = place;
		this.#wiring = wiring;
		this.#listeners = new Listeners(wiring.report);
	}

	/**
	 * Says that this client is here, or replaces what it says of itself; again after every reconnect.
	 *
	 * @example
	 * ```ts
	 * client.presence.track({ name: "Ada", typing: true });
	 * ```
	 */
	track(metadata: M): void {
		this.#wanted = JSON.stringify(metadata);
		this.#wiring.changed();
	}

	/**
	 * Says that this client has left.
	 *
	 * @example
	 * ```ts
	 * client.presence.track({ name: "Ada" });
	 * window.addEventListener("pagehide", () => client.presence.untrack());
	 * ```
	 */
	untrack(): void {
		this.#wanted = undefined;
		this.#wiring.changed();
	}

	/**
	 * Calls with everyone there, whenever that changes. In a topic, those who only look are told too; who is in the lobby
	 * is told to those who are.
	 *
	 * @example
	 * ```ts
	 * const watching = client.topic("room:1").presence.on((members) => render(members));
	 * window.addEventListener("pagehide", () => watching.off());
	 * ```
	 */
	on(handler: Handler<readonly Member<M>[]>): Subscription {
		const remove = this.#listeners.add(handler);
		// The lobby is seen from inside only.
		const place = this.#place;
		const watching = "topic" in place ? this.#wiring.subscribe({ ...place, presence: true }, () => {}) : undefined;
		const off = () => {
			remove();
			watching?.off();
			this.#wiring.changed();
		};
		const here = Promise.resolve();
		return {
			get ready() {
				return watching?.ready ?? here;
			},
			watch: (watcher) => watching?.watch(watcher) ?? (watcher(), () => {}),
			off,
		};
	}

	/** @internal */
	disconnected(): void {
		this.#told = undefined;
		this.#isTracked = this.#isWaiting = false;
	}

	/** @internal The server may have forgotten, or taken away, what it was told. */
	renew(): void {
		this.#told = undefined;
		this.#isTracked = false;
		this.flush();
	}

	/** @internal Something was refused that may be this presence. */
	refused(code: string): void {
		if (this.#wanted === undefined || !/^(not_tracked|rate_limited)$/.test(code)) return;
		if (code === "not_tracked") this.#isTracked = false;
		// Said again it is right whatever the server has; at the end of the queue, and one at a time.
		if (this.#told !== undefined) this.#told = "";
		this.flush();
	}

	/** @internal Tells the server what it has not been told: the latest only, as fast as it takes it. */
	flush(): void {
		if (this.#wanted !== this.#told && !this.#isWaiting) {
			this.#isWaiting = true;
			this.#wiring.pace(() => {
				this.#isWaiting = false;
				this.#say();
			});
		}
		// Nobody tells any more who is there, so what is known would grow old.
		if (this.#wanted === undefined && this.#listeners.size === 0) this.members = [];
	}

	#say(): void {
		const wanted = this.#wanted;
		if (wanted === this.#told) return;
		this.#told = wanted;
		if (wanted === undefined) this.#isTracked = false;
		// Tracking again updates too, but it is answered with everyone there.
		const type = wanted === undefined ? "untrack" : this.#isTracked ? "update" : "track";
		const metadata = wanted === undefined ? {} : { metadata: JSON.parse(wanted) };
		this.#wiring.send({ type: `presence_${type}`, ...this.#place, ...metadata });
	}

	/** @internal */
	receive(frame: PresenceFrame): void {
		const others = (id: string) => this.members.filter(({ client_id }) => client_id !== id);
		switch (frame.type) {
			case "presence_state":
				return this.#show(frame.clients as readonly Member<M>[]);
			case "presence_join": {
				const { type, topic, ...member } = frame;
				this.#isTracked ||= this.#told !== undefined && JSON.stringify(member.metadata) === this.#told;
				return this.#show([...others(frame.client_id), member as Member<M>]);
			}
			case "presence_update": {
				const metadata = frame.metadata as M;
				return this.#show(this.members.map((one) => (one.client_id === frame.client_id ? { ...one, metadata } : one)));
			}
			case "presence_leave":
				return this.#show(others(frame.client_id));
		}
	}

	#show(members: readonly Member<M>[]): void {
		this.members = members;
		this.#listeners.emit(members);
	}
}
