/**
 * An organization's figures over time, polled while the page is visible.
 */

const INTERVAL = 2_000;
/** How many points are kept: one hour. */
const MAX_POINTS = 1_800;

/**
 * @typedef {{time: number, publications: number | undefined, deliveries: number | undefined, connections: number}} Point
 *   rates are per second, and `undefined` where there is nothing to compare with
 */

/** Polls. It emits `changed`. */
export class Figures extends EventTarget {
	/** @type {Point[]} */
	points = [];
	/** The current figures, as the server sends them. */
	latest;
	/** Why there are none. */
	problem = "";
	#service;
	#organizationOf;
	#organizationId;
	#timer;
	#previous;

	/**
	 * @param {import("./service.js").Service} service
	 * @param {() => string | undefined} organizationOf
	 */
	constructor(service, organizationOf) {
		super();
		this.#service = service;
		this.#organizationOf = organizationOf;
		service.addEventListener("changed", () => this.#restart());
		document.addEventListener("visibilitychange", () => this.#restart());
		this.#restart();
	}

	/** Polls at once. */
	#restart() {
		clearTimeout(this.#timer);
		void this.#poll();
	}

	async #poll() {
		const organizationId = this.#organizationOf();
		if (organizationId !== this.#organizationId) Object.assign(this, { points: [], latest: undefined });
		this.#organizationId = organizationId;
		if (document.visibilityState === "visible" && this.#service.isKnown && organizationId) await this.#ask(organizationId);
		else this.problem = this.#service.isKnown ? "" : "The figures need the service token.";
		this.dispatchEvent(new Event("changed"));
		clearTimeout(this.#timer);
		if (document.visibilityState === "visible") this.#timer = setTimeout(() => this.#poll(), INTERVAL);
	}

	async #ask(organizationId) {
		try {
			const latest = await this.#service.stats(organizationId);
			this.problem = "";
			this.#add(latest, Date.now());
		} catch (error) {
			this.problem = `No figures: ${error.message}`;
			this.latest = undefined;
		}
	}

	#add(latest, time) {
		const before = this.latest && this.#previous;
		// After a new epoch or start, counters begin at zero.
		const isSame = before && before.latest.since === latest.since && before.latest.epoch === latest.epoch;
		const seconds = isSame ? (time - before.time) / 1_000 : 0;
		const rate = (name) => (seconds > 0 ? Math.max(0, latest[name] - before.latest[name]) / seconds : undefined);
		this.points.push({ time, publications: rate("publications"), deliveries: rate("deliveries"), connections: latest.connections });
		this.points.splice(0, this.points.length - MAX_POINTS);
		this.latest = latest;
		this.#previous = { latest, time };
	}
}
