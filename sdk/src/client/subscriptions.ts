/**
 * The client's subscriptions: what handlers want, what was requested, and what is active.
 *
 * The server confirms every subscription, and the end of each, in the order of the events. So at each event, the
 * subscriptions that are active here are those by which the server selected it.
 */
import type { Broadcast, Change } from "./definitions.ts";
import { RealtimeError } from "./error.ts";
import { matches, Undecidable } from "./filter.ts";
import { Entry } from "./entry.ts";
import type { Handler } from "./listeners.ts";
import type { Subscription, TableTarget, Target } from "./subscription.ts";
import type { Wiring } from "./wiring.ts";

/**
 * A table that does not exist. A connection without any table subscription receives every change, so this subscription
 * is always active: it costs nothing, and restricts changes to those that have a handler.
 */
export const NO_TABLE = { id: "none", schema: "-", table: "-" };

/** How many topics a connection may have by the server's default. */
const MAX_TOPICS = 100;

/** All subscriptions of a client. */
export class Subscriptions {
	/** By target; targets that no handler wants are removed. */
	#wanted = new Map<string, Entry>();
	/** By id on the current connection. */
	#known = new Map<string, Entry>();
	#lastId = 0;
	#wiring: Wiring;

	constructor(wiring: Wiring) {
		this.#wiring = wiring;
	}

	/** Adds a handler. Nothing is sent before {@link flush}, so removing it at once costs nothing. */
	add<T>(target: Target, handler: Handler<T>): Subscription {
		const key = JSON.stringify(target);
		let entry = this.#wanted.get(key);
		if (!entry) {
			entry = new Entry(target, this.#wiring.report);
			this.#wanted.set(key, entry);
		}
		const remove = entry.listeners.add(handler as Handler<never>);
		this.#wiring.changed();
		const off = () => {
			remove();
			this.#wiring.changed();
		};
		return entry.subscription(off);
	}

	/**
	 * The subscriptions to send with the token, so that they are active before the replay.
	 *
	 * Refused ones are included: a refusal here does not count as an error of the connection, and too many errors would
	 * close it.
	 *
	 * @param isFirst whether there was no connection before. Later, what was missed is due only to those asked for before.
	 * @param careful leaves out those that the server may not understand
	 */
	initial(isFirst: boolean, careful: boolean): object[] {
		this.disconnected();
		const isDue = (entry: Entry) => entry.isUnderstood ?? (isFirst && !careful);
		const all = [...this.#wanted.values()];
		// While it is unknown whether the user may see presence, both subscriptions are requested; refused one by one, they
		// would count.
		const fits = all.filter(isOfTopic).length <= MAX_TOPICS;
		const isCarried = (entry: Entry) => {
			const carrier = this.#carrier(entry);
			return carrier && !(fits && carrier.isUnderstood === undefined);
		};
		const due = all.filter((entry) => isDue(entry) && !isCarried(entry));
		return [NO_TABLE, ...due.map((entry) => this.#ask(entry))];
	}

	/** Requests what is wanted and not requested yet, and ends what is no longer wanted. */
	flush(): void {
		this.#prune();
		this.#leave((entry) => !isOfTopic(entry));
		for (const entry of this.#wanted.values()) {
			if (entry.state !== "new" || entry.isUnderstood === false || this.#carrier(entry)) continue;
			this.#wiring.send({ type: "subscribe", ...this.#ask(entry) });
		}
		// Only afterwards, so that one subscription can replace another without a moment without either.
		this.#leave(isOfTopic);
	}

	#leave(isMeant: (entry: Entry) => boolean): void {
		const wanted = new Set(this.#wanted.values());
		for (const entry of this.#known.values()) {
			const isNeeded = wanted.has(entry) && this.#carrier(entry)?.state !== "standing";
			if (entry.leaving || isNeeded || !isMeant(entry)) continue;
			entry.leaving = true;
			this.#wiring.send({ type: "unsubscribe", id: entry.id });
		}
	}

	/**
	 * The subscription to a topic's presence. It also brings the topic's messages, so that both count as one topic of
	 * the connection.
	 */
	#carrier({ target }: Entry): Entry | undefined {
		if (!("topic" in target) || target.presence) return undefined;
		const carrier = this.#wanted.get(JSON.stringify({ ...target, presence: true }));
		return carrier?.wasRefused ? undefined : carrier;
	}

	/**
	 * The server has accepted those of {@link initial}: they are active from now on, although their confirmations are
	 * still on their way.
	 */
	authenticated(): void {
		for (const entry of this.#known.values()) entry.isUnderstood = true;
		this.flush();
	}

	/** A new token has brought other roles, which may allow what was refused. */
	retry(): void {
		for (const entry of this.#wanted.values()) if (entry.state === "refused") entry.state = "new";
		this.flush();
	}

	/** There is no connection, and none is expected soon: pending promises reject. */
	failed(error: RealtimeError): void {
		for (const entry of this.#wanted.values()) if (entry.state !== "refused") entry.settle(error);
	}

	/** The connection has ended, so no subscription is active. */
	disconnected(): void {
		this.#prune();
		this.#known.clear();
		for (const entry of this.#wanted.values()) entry.state = "new";
	}

	/** The server confirms that a subscription is active. */
	subscribed(id: string): void {
		const entry = this.#known.get(id);
		if (!entry) return;
		entry.state = "standing";
		entry.isUnderstood = true;
		entry.wasRefused = false;
		entry.settle();
		for (const other of this.#wanted.values()) if (this.#carrier(other) === entry) other.settle();
		this.flush();
	}

	/** The server confirms that a subscription has ended. */
	unsubscribed(id: string): void {
		const entry = this.#known.get(id);
		this.#known.delete(id);
		// It may be wanted separately again.
		if (entry) [entry.state, entry.leaving] = ["new", false];
		this.flush();
	}

	/** The server refuses a subscription, or ends it because this user's rights have changed. */
	refused(id: string, { code, message }: { code: string; message: string }): RealtimeError | undefined {
		const entry = this.#known.get(id);
		if (!entry) return undefined;
		const error = new RealtimeError(code, message, { target: entry.target });
		this.#known.delete(id);
		entry.state = "refused";
		entry.wasRefused = true;
		entry.isUnderstood = !/^(invalid_|name_)/.test(code);
		entry.settle(error);
		// What it would have included must be requested separately.
		this.flush();
		return error;
	}

	/** Passes a change to every handler that it matches. */
	change(change: Change): void {
		const heard = this.#standing().filter(({ target }) => "table" in target && covers(target, change));
		const filterOf = (entry: Entry) => (entry.target as TableTarget).filter;
		// If all have the same filter, or none, the server has judged it.
		const isJudged = heard.every((entry) => filterOf(entry) === filterOf(heard[0]!));
		for (const entry of heard) {
			const filter = filterOf(entry);
			if (isJudged || filter === undefined || this.#passes(filter, change, entry)) entry.listeners.emit(change as never);
		}
	}

	/** Passes a broadcast to the handlers of its topic. */
	topic(broadcast: Broadcast): void {
		const standing = new Set(this.#standing());
		for (const entry of new Set([...standing, ...this.#wanted.values()])) {
			const { target, listeners } = entry;
			const isHeard = standing.has(entry) || standing.has(this.#carrier(entry)!);
			if (isHeard && "topic" in target && target.topic === broadcast.topic) listeners.emit(broadcast as never);
		}
	}

	#standing(): Entry[] {
		return [...this.#known.values()].filter(({ state }) => state === "standing");
	}

	/** Removes targets without handlers. Only now, so that a handler that is replaced within one turn misses nothing. */
	#prune(): void {
		for (const [key, { listeners }] of this.#wanted) if (listeners.size === 0) this.#wanted.delete(key);
	}

	#ask(entry: Entry): object {
		entry.ask();
		entry.id = `s${(this.#lastId += 1)}`;
		this.#known.set(entry.id, entry);
		return { id: entry.id, ...entry.target };
	}

	#passes(filter: string, change: Change, { target, listeners }: Entry): boolean {
		try {
			return matches(filter, change.new ?? change.old);
		} catch (error) {
			if (!(error instanceof Undecidable)) throw error;
			const message = `Only the server can judge ${filter}: use no other beside it.`;
			if (listeners.size > 0) this.#wiring.report(new RealtimeError("filter_undecidable", message, { target }));
			return false;
		}
	}
}

function isOfTopic({ target }: Entry): boolean {
	return "topic" in target;
}

function covers({ table, schema, event }: TableTarget, change: Change): boolean {
	const is = (wanted: string, given: string) => wanted === "*" || wanted === given;
	return is(table, change.table) && is(schema, change.schema) && is(event, change.eventType);
}
