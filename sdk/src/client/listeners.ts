/**
 * Event handlers.
 */

/** A handler. Handlers are called in order and not awaited; a rejection of a returned promise is reported. */
export type Handler<T> = (value: T) => unknown;

/**
 * Removes a handler.
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

/** The handlers of one kind of event. A function that is added twice is called twice. */
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

	/** Calls the current handlers, except those that another one removes meanwhile. */
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
