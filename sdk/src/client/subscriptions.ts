/**
 * What the client listens to: what the handlers want, what the server was asked for, and what stands.
 *
 * The server confirms every subscription and its end in the order of the events, so at each event the ones that stand
 * here are the ones by which the server chose it.
 */
import type { Broadcast, Change } from "./definitions.ts";
import { RealtimeError } from "./error.ts";
import { matches, Undecidable } from "./filter.ts";
import { Entry } from "./entry.ts";
import type { Handler } from "./listeners.ts";
import type { Subscription, TableTarget, Target } from "./subscription.ts";
import type { Wiring } from "./wiring.ts";

/**
 * A table that nobody has. A connection without any table subscription is sent every change, so this one always stands:
 * it costs nothing, and with it only what has a handler is sent.
 */
const NO_TABLE = { id: "none", schema: "-", table: "-" };

/** All subscriptions of a client. */
export class Subscriptions {
	/** By what they are to; those that nobody wants any more are not here. */
	#wanted = new Map<string, Entry>();
	/** By the id that the connection of now knows them by. */
	#known = new Map<string, Entry>();
	#lastId = 0;
	#wiring: Wiring;

	constructor(wiring: Wiring) {
		this.#wiring = wiring;
	}

	/** Adds a handler. Nothing is sent before {@link flush}, so taking it away again at once costs nothing. */
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
	 * Those that go with the token, so that they stand before anything is replayed.
	 *
	 * Those that were refused are among them: refused here they do not count against the connection, which many would end.
	 *
	 * @param isFirst whether there was no connection before. Later, what was missed is due only to those asked for before.
	 * @param careful leaves out those that the server may not understand
	 */
	initial(isFirst: boolean, careful: boolean): object[] {
		this.disconnected();
		const isDue = (entry: Entry) => entry.isUnderstood ?? (isFirst && !careful);
		const due = [...this.#wanted.values()].filter(isDue);
		return [NO_TABLE, ...due.map((entry) => this.#ask(entry))];
	}

	/** Asks the server for what is wanted and not asked for yet, and to end what is wanted no more. */
	flush(): void {
		this.#prune();
		const wanted = new Set(this.#wanted.values());
		for (const entry of this.#known.values()) {
			if (wanted.has(entry) || entry.leaving) continue;
			entry.leaving = true;
			this.#wiring.send({ type: "unsubscribe", id: entry.id });
		}
		for (const entry of wanted) {
			if (entry.state !== "new" || entry.isUnderstood === false) continue;
			this.#wiring.send({ type: "subscribe", ...this.#ask(entry) });
		}
	}

	/** The server has taken those of {@link initial}: from now on they stand, though their confirmations are on their way. */
	authenticated(): void {
		for (const entry of this.#known.values()) entry.isUnderstood = true;
		this.flush();
	}

	/** Another token has brought other roles: what was refused may be allowed by them. */
	retry(): void {
		for (const entry of this.#wanted.values()) if (entry.state === "refused") entry.state = "new";
		this.flush();
	}

	/** There is no connection, and none soon: nobody need wait. */
	failed(error: RealtimeError): void {
		for (const entry of this.#wanted.values()) if (entry.state !== "refused") entry.settle(error);
	}

	/** The connection has ended: nothing stands any more. */
	disconnected(): void {
		this.#prune();
		this.#known.clear();
		for (const entry of this.#wanted.values()) entry.state = "new";
	}

	/** The server confirms that one stands. */
	subscribed(id: string): void {
		const entry = this.#known.get(id);
		if (!entry) return;
		entry.state = "standing";
		entry.isUnderstood = true;
		entry.settle();
	}

	/** The server confirms that one has ended. */
	unsubscribed(id: string): void {
		this.#known.delete(id);
	}

	/** The server refuses one, or takes it away since this user's rights have changed. */
	refused(id: string, { code, message }: { code: string; message: string }): RealtimeError | undefined {
		const entry = this.#known.get(id);
		if (!entry) return undefined;
		const error = new RealtimeError(code, message, { target: entry.target });
		this.#known.delete(id);
		entry.state = "refused";
		entry.isUnderstood = !/^(invalid_|name_)/.test(code);
		entry.settle(error);
		return error;
	}

	/** Hands a change to every handler that it is for. */
	change(change: Change): void {
		const heard = this.#standing().filter(({ target }) => "table" in target && covers(target, change));
		const filterOf = (entry: Entry) => (entry.target as TableTarget).filter;
		// Where all have one filter, or none, the server has judged it.
		const isJudged = heard.every((entry) => filterOf(entry) === filterOf(heard[0]!));
		for (const entry of heard) {
			const filter = filterOf(entry);
			if (isJudged || filter === undefined || this.#passes(filter, change, entry)) entry.listeners.emit(change as never);
		}
	}

	/** Hands a broadcast to the handlers of its topic. */
	topic(broadcast: Broadcast): void {
		for (const { target, listeners } of this.#standing()) {
			if ("topic" in target && target.topic === broadcast.topic) listeners.emit(broadcast as never);
		}
	}

	#standing(): Entry[] {
		return [...this.#known.values()].filter(({ state }) => state === "standing");
	}

	/** Forgets those without handlers. Not before now: a handler that is replaced within one turn misses nothing. */
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

function covers({ table, schema, event }: TableTarget, change: Change): boolean {
	const is = (wanted: string, given: string) => wanted === "*" || wanted === given;
	return is(table, change.table) && is(schema, change.schema) && is(event, change.eventType);
}
