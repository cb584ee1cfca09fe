/**
 * How fast a client sends frames, so that the server's rate limit is not exceeded.
 */
import type { Surroundings } from "./surroundings.ts";

/** The initial frames per second, and the burst. The server's defaults are 100 and 200; the rest is for subscriptions. */
const RATE = 80;
const BURST = 100;
/** How many may wait: at this rate, about three seconds. */
const MAX_WAITING = 256;

/** A token bucket with a queue. */
export class Pace {
	#surroundings: Surroundings;
	#rate = RATE;
	#tokens = BURST;
	#at = 0;
	#waiting: (() => void)[] = [];
	#cancel: (() => void) | undefined;

	constructor(surroundings: Surroundings) {
		this.#surroundings = surroundings;
	}

	/** Whether so many wait that another one would only be late. */
	get isFull(): boolean {
		return this.#waiting.length >= MAX_WAITING;
	}

	/** Acts at once, or in turn as soon as the rate allows. */
	run(act: () => void): void {
		this.#waiting.push(act);
		if (!this.#cancel) this.#drain();
	}

	/**
	 * The server has reported that the client was too fast, so this deployment's limits are lower. Pauses, and
	 * continues at half the rate.
	 */
	slow(): void {
		this.#rate = Math.max(1, this.#rate / 2);
		this.#tokens = -this.#rate;
		this.#at = this.#surroundings.now();
	}

	/** The connection has ended, so nothing that waits can be sent. */
	clear(): void {
		this.#cancel?.();
		this.#cancel = undefined;
		this.#waiting = [];
	}

	#drain(): void {
		this.#cancel = undefined;
		const now = this.#surroundings.now();
		// A clock that was set back takes nothing away.
		this.#tokens = Math.min(BURST, this.#tokens + (Math.max(0, now - this.#at) * this.#rate) / 1000);
		this.#at = now;
		while (this.#tokens >= 1 && this.#waiting.length > 0) {
			this.#tokens -= 1;
			this.#waiting.shift()!();
		}
		const missing = ((1 - this.#tokens) * 1000) / this.#rate;
		if (this.#waiting.length > 0) this.#cancel = this.#surroundings.after(Math.max(1, missing), () => this.#drain());
	}
}
