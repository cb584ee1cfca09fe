/**
 * Finds links that died without a word: a router that forgot the connection, a laptop that slept.
 */
import type { Surroundings } from "./surroundings.ts";

/** When a silent link is asked, and when it is given up, in milliseconds. */
export interface HeartbeatOptions {
	/** A ping goes out after this much silence; 25,000 unless given. */
	interval?: number;
	/** The link is dead when nothing comes within this time after a ping; 8,000 unless given. */
	timeout?: number;
}

/** Watches one link at a time. */
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

	/** Watches a new link. */
	start(): void {
		this.stop();
		this.heard();
		this.#rest(this.#interval);
	}

	stop(): void {
		this.#cancel();
		this.#asked = false;
	}

	/** Something came, whatever it was. It costs no timer, since it is called for every frame. */
	heard(): void {
		this.#heard = this.#surroundings.now();
		this.#asked = false;
	}

	/** Asks at once, as after a sleep or a change of network. */
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
