/**
 * Functions that are called when something happens.
 */

/** A handler. It is called in order and not awaited; what a promise of it rejects with is reported. */
export type Handler<T> = (value: T) => unknown;

/**
 * Takes a handler away again.
 *
 * @example
 * ```ts
 * const off = client.on.broadcast("extraction:started", ({ payload }) => {
 *   start(payload.materialId);
 *   off(); // the first one only
 * });
 * ```
 */
export type Off = () => void;

/** Handlers of one kind of event. One function added twice is called twice. */
export class Listeners<T> {
	#entries = new Set<{ handler: Handler<T> }>();
	#report: (error: unknown) => void;

	/** @param report takes what a handler throws: that must not keep the others from being called */
	constructor(report: (error: unknown) => void) {
		this.#report = report;
	}

	get size(): number {
		return this.#entries.size;
	}

	add(handler: Handler<T>): Off {
		const entry = { handler };
		this.#entries.add(entry);
		return () => void this.#entries.delete(entry);
	}

	/** Calls those that are there now, except for ones that another takes away meanwhile. */
	emit(value: T): void {
		for (const entry of [...this.#entries]) {
			if (!this.#entries.has(entry)) continue;
			try {
				const result = entry.handler(value);
				if (result instanceof Promise) result.catch(this.#report);
			} catch (error) {
				this.#report(error);
			}
		}
	}
}
