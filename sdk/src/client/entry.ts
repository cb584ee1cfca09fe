/**
 * One subscription of the connection, shared by all handlers with the same target.
 */
import type { RealtimeError } from "./error.ts";
import { type Handler, Listeners, type Off } from "./listeners.ts";
import type { Subscription, Target } from "./subscription.ts";

/** A target with its handlers and its state. */
export class Entry {
	readonly listeners: Listeners<never>;
	readonly target: Target;
	/** Its state on the current connection. */
	state: "new" | "asked" | "standing" | "refused" = "new";
	/** The server was asked to end it. It remains active until the server confirms that. */
	leaving = false;
	id = "";
	/** The server has refused it since it was last active, on any connection. */
	wasRefused = false;
	/** Whether the server understands it, once that is known. If not, it will not after a reconnect either. */
	isUnderstood: boolean | undefined;
	#ready!: PromiseWithResolvers<void>;
	#outcome: { error: RealtimeError | undefined } | undefined;
	#watchers: Listeners<RealtimeError | undefined>;

	constructor(target: Target, report: (error: unknown) => void) {
		this.target = target;
		this.listeners = new Listeners(report);
		this.#watchers = new Listeners(report);
		this.#renew();
	}

	/** A handler's part in it. */
	subscription(off: Off): Subscription {
		const entry = this;
		const watch = (handler: Handler<RealtimeError | undefined>) => {
			const unwatch = this.#watchers.add(handler);
			if (this.#outcome) handler(this.#outcome.error);
			return unwatch;
		};
		return {
			get ready() {
				return entry.#ready.promise;
			},
			watch,
			off,
		};
	}

	/** It is being requested from the server. */
	ask(): void {
		this.state = "asked";
		if (this.#outcome?.error) this.#renew();
	}

	/** The server has confirmed it, or it has failed. */
	settle(error?: RealtimeError): void {
		// A repeated request may fail again, which is a new failure; one that was active need not be awaited again.
		if (this.#outcome && !this.#outcome.error && error) this.#renew();
		this.#outcome = { error };
		if (error) this.#ready.reject(error);
		else this.#ready.resolve();
		this.#watchers.emit(error);
	}

	#renew(): void {
		this.#outcome = undefined;
		this.#ready = resolvers();
		// Code that does not await it learns of a refusal through `on.error`.
		this.#ready.promise.catch(() => {});
	}
}

interface PromiseWithResolvers<T> {
	readonly promise: Promise<T>;
	readonly resolve: (value: T) => void;
	readonly reject: (error: unknown) => void;
}

/** Like `Promise.withResolvers`, which some browsers lack. */
function resolvers(): PromiseWithResolvers<void> {
	let settle!: Pick<PromiseWithResolvers<void>, "resolve" | "reject">;
	const promise = new Promise<void>((resolve, reject) => (settle = { resolve, reject }));
	return { promise, ...settle };
}
