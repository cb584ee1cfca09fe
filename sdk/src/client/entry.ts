/**
 * One subscription of the connection, shared by all handlers that want the same.
 */
import type { RealtimeError } from "./error.ts";
import { type Handler, Listeners, type Off } from "./listeners.ts";
import type { Subscription, Target } from "./subscription.ts";

/** A target, who listens to it, and how it stands. */
export class Entry {
	readonly listeners: Listeners<never>;
	readonly target: Target;
	/** Where it stands with the connection of now. */
	state: "new" | "asked" | "standing" | "refused" = "new";
	/** The server was asked to end it. Until it confirms that, it stands. */
	leaving = false;
	id = "";
	/** The server has refused it since it last stood, on whatever connection. */
	wasRefused = false;
	/** Whether the server understands it, once that is known; what it does not, it will not after a reconnect either. */
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

	/** A handler's place in it. */
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

	/** The server is asked for it. */
	ask(): void {
		this.state = "asked";
		if (this.#outcome?.error) this.#renew();
	}

	/** The server has confirmed it, or it has failed. */
	settle(error?: RealtimeError): void {
		// Asked for again, it may well fail again, which is another failure; one that stood need not be waited for again.
		if (this.#outcome && !this.#outcome.error && error) this.#renew();
		this.#outcome = { error };
		if (error) this.#ready.reject(error);
		else this.#ready.resolve();
		this.#watchers.emit(error);
	}

	#renew(): void {
		this.#outcome = undefined;
		this.#ready = resolvers();
		// Whoever does not wait for it hears of a refusal through `on.error`.
		this.#ready.promise.catch(() => {});
	}
}

interface PromiseWithResolvers<T> {
	readonly promise: Promise<T>;
	readonly resolve: (value: T) => void;
	readonly reject: (error: unknown) => void;
}

/** As `Promise.withResolvers`, which not every browser has. */
function resolvers(): PromiseWithResolvers<void> {
	let settle!: Pick<PromiseWithResolvers<void>, "resolve" | "reject">;
	const promise = new Promise<void>((resolve, reject) => (settle = { resolve, reject }));
	return { promise, ...settle };
}
