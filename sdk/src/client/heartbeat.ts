/**
 * Detects connections that died silently: a router that dropped the connection, a laptop that slept.
 */
import type { Surroundings } from "./surroundings.ts";

/** When a silent connection is pinged, and when it is given up, in milliseconds. */
export interface HeartbeatOptions {
	/** The silence after which a ping is sent. Default: 25,000. */
	interval?: number;
	/** The time after a ping without an answer, after which the connection is dead. Default: 8,000. */
	timeout?: number;
}

/** Watches one connection at a time. */
export class Heartbeat {
	#interval: number;
	#timeout: number;
	#surroundings: Surroundings;
	#ping: () => void;
	#dead: () => void;
	#heard = 0;
	#asked = false;
	#cancel: () => void = () => {};

	constructor(options: HeartbeatOptions, surroundings: Surroundings, ping: () => void, dead: () => void) {
		this.#interval = options.interval ?? 25_000;
		this.#timeout = options.timeout ?? 8_000;
		this.#surroundings = surroundings;
		this.#ping = ping;
		this.#dead = dead;
	}

	/** Watches a new connection. */
	start(): void {
		this.stop();
		this.heard();
		this.#rest(this.#interval);
	}

	stop(): void {
		this.#cancel();
		this.#asked = false;
	}

	/** Something arrived. This sets no timer, because it is called for every frame. */
	heard(): void {
		this.#heard = this.#surroundings.now();
		this.#asked = false;
	}

	/** Pings at once, as after sleep or a change of network. */
	probe(): void {
		if (this.#asked) return;
		this.#cancel();
		this.#asked = true;
		this.#ping();
		this.#cancel = this.#surroundings.after(this.#timeout, () => (this.#asked ? this.#dead() : this.#tick()));
	}

	#tick(): void {
		const silence = this.#surroundings.now() - this.#heard;
		if (silence >= this.#interval) this.probe();
		else this.#rest(this.#interval - silence);
	}

	#rest(milliseconds: number): void {
		this.#cancel = this.#surroundings.after(milliseconds, () => this.#tick());
	}
}
