/**
 * Presence: in a topic, or in the organization's lobby.
 */
import type { Member, PresenceFrame } from "./frame.ts";
import { type Handler, Listeners } from "./listeners.ts";
import type { Subscription, TopicTarget } from "./subscription.ts";
import type { Wiring } from "./wiring.ts";

/**
 * The members of a topic (`client.topic("room:1").presence`), or of the lobby (`client.presence`).
 *
 * The list stays unchanged while disconnected, and is replaced after a reconnect. The client's own presence is tracked
 * again, under a new `client_id`. A refusal is reported by `client.on.error`.
 *
 * @example
 * ```ts
 * const { presence } = client.topic("room:1");
 * presence.on((members) => render(members.map(({ metadata }) => metadata.name)));
 * presence.track({ name: "Ada" });
 * ```
 */
export class Presence<M = Record<string, unknown>> {
	/** All members, including this client if it is tracked. A new array for every change. */
	members: readonly Member<M>[] = [];
	#place: TopicTarget | object;
	#wiring: Wiring;
	#listeners: Listeners<readonly Member<M>[]>;
	/** This client's own metadata, and what was last sent on the current connection, as JSON. */
	#wanted: string | undefined;
	#told: string | undefined;
	/** Whether the server has accepted it; only then can it be updated. */
	#isTracked = false;
	/** An update is queued; the latest metadata will be sent. */
	#isWaiting = false;

	/** @internal Clients and topics have theirs. */
	constructor(place: TopicTarget | object, wiring: Wiring) {
		this.#place = place;
		this.#wiring = wiring;
		this.#listeners = new Listeners(wiring.report);
	}

	/**
	 * Makes this client present, or replaces its metadata; repeated after every reconnect.
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
	 * Ends this client's presence.
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
	 * Calls with all members whenever they change. In a topic, clients that are not present receive it too; in the
	 * lobby, only those that are.
	 *
	 * @example
	 * ```ts
	 * const watching = client.topic("room:1").presence.on((members) => render(members));
	 * window.addEventListener("pagehide", () => watching.off());
	 * ```
	 */
	on(handler: Handler<readonly Member<M>[]>): Subscription {
		const remove = this.#listeners.add(handler);
		// Only members see the lobby.
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
		// Sending it again is right, whatever the server has; at the end of the queue, and one at a time.
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
		// Nobody reports changes any more, so the known list would become stale.
		if (this.#wanted === undefined && this.#listeners.size === 0) this.members = [];
	}

	#say(): void {
		const wanted = this.#wanted;
		if (wanted === this.#told) return;
		this.#told = wanted;
		if (wanted === undefined) this.#isTracked = false;
		// Tracking again also updates, but is answered with the whole roster.
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
