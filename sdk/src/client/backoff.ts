/**
 * The wait before the next attempt: exponential with full jitter, so that a thousand clients that were disconnected at
 * once do not reconnect at once.
 */
import type { Surroundings } from "./surroundings.ts";

/** How reconnects are spread over time, in milliseconds. */
export interface BackoffOptions {
	/** The maximum wait before the first attempt, doubled with each further attempt. Default: 500. */
	base?: number;
	/** The maximum wait. Default: 30,000. */
	max?: number;
}

/** A connection that lasted this long (milliseconds) was good: the attempts count from zero again. */
const STABLE = 5_000;
/**
 * The attempt number to start from after "try again later" (1013): the server is full, or something it depends on is
 * down.
 */
const BUSY = 3;

/** Counts attempts. */
export class Backoff {
	/**
	 * Attempts since the last good connection; reset to 0 when the user or the network suggests that an attempt is
	 * worthwhile.
	 */
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

	/** A connection is established. One that ends at once must not be retried at once for ever. */
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
