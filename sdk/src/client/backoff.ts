/**
 * How long to wait before the next attempt: exponential, with full jitter, so that a thousand clients that lost their
 * connections at once do not come back at once.
 */
import type { Surroundings } from "./surroundings.ts";

/** How reconnecting is spread over time, in milliseconds. */
export interface BackoffOptions {
	/** The longest wait before the first attempt. It doubles with every further one; 500 unless given. */
	base?: number;
	/** The longest wait of all; 30,000 unless given. */
	max?: number;
}

/** A connection that held for this long (milliseconds) was a good one: the attempts count from zero again. */
const STABLE = 5_000;
/** Where counting begins after "try again later" (1013): the server is full, or its surroundings are down. */
const BUSY = 3;

/** Counts attempts. */
export class Backoff {
	/** Attempts since the last good connection; 0 again when the user, or the network, says that it is worth it. */
	attempt = 0;
	#base: number;
	#max: number;
	#surroundings: Surroundings;
	#connected: number | undefined;

	constructor({ base = 500, max = 30_000 }: BackoffOptions, surroundings: Surroundings) {
		this.#base = base;
		this.#max = max;
		this.#surroundings = surroundings;
	}

	/** A connection stands. One that ends at once must not be tried again at once for ever. */
	connected(): void {
		this.#connected = this.#surroundings.now();
	}

	/** The wait before the next attempt, after a connection ended with this close code. */
	next(closeCode?: number): number {
		const { now, random, isOnline } = this.#surroundings;
		if (this.#connected !== undefined && now() - this.#connected >= STABLE) this.attempt = 0;
		this.#connected = undefined;
		if (closeCode === 1013) this.attempt = Math.max(this.attempt, BUSY);
		// "Offline" is sometimes wrong, so it is a reason to wait long, not for ever.
		if (!isOnline()) return this.#max;
		return random() * Math.min(this.#max, this.#base * 2 ** this.attempt++);
	}
}
