/**
 * What the client needs from its environment: a clock, randomness, and whether the device is online and the page
 * visible.
 */

/**
 * The environment of a client. Tests supply their own.
 *
 * @example
 * ```ts
 * // A client that believes to be online, whatever the browser says.
 * const client = createClient(url, { ...options, surroundings: { ...browser(), isOnline: () => true } });
 * client.connect();
 * ```
 */
export interface Surroundings {
	/** The time in Unix milliseconds. */
	now(): number;
	/** A number in [0, 1). */
	random(): number;
	/** Calls back after some milliseconds, and returns a function that cancels it. */
	after(milliseconds: number, callback: () => void): () => void;
	/** Whether the device has a network. */
	isOnline(): boolean;
	/** Calls when the device comes online or goes offline, or the page becomes visible; returns a function that stops it. */
	watch(callback: (news: "online" | "offline" | "visible") => void): () => void;
}

/** The longest delay that timers support. */
const MOST = 2 ** 31 - 1;

/**
 * The environment of a browser. In Node and Workers it is always online and visible.
 *
 * @example
 * ```ts
 * const surroundings = browser();
 * console.log(surroundings.isOnline());
 * ```
 */
export function browser(): Surroundings {
	return {
		now: () => Date.now(),
		random: () => Math.random(),
		after(milliseconds, callback) {
			const timer = setTimeout(callback, Math.min(milliseconds, MOST));
			return () => clearTimeout(timer);
		},
		// Node has a `navigator` without `onLine`.
		isOnline: () => globalThis.navigator?.onLine !== false,
		watch(callback) {
			const { document } = globalThis;
			const ending = new AbortController();
			if (document) {
				const visible = () => document.visibilityState === "visible" && callback("visible");
				addEventListener("online", () => callback("online"), ending);
				addEventListener("offline", () => callback("offline"), ending);
				document.addEventListener("visibilitychange", visible, ending);
			}
			return () => ending.abort();
		},
	};
}
