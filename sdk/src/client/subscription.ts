/**
 * The targets of subscriptions, and a handler's part in one.
 */
import type { ChangeType } from "./definitions.ts";
import type { RealtimeError } from "./error.ts";
import type { Off } from "./listeners.ts";

/** Rows of a table. `*` is any table, any schema. */
export interface TableTarget {
	readonly table: string;
	readonly schema: string;
	readonly event: ChangeType | "*";
	/** Absent if every row is wanted. */
	readonly filter?: string;
}

/** The publications to a topic, or the presence in it. */
export interface TopicTarget {
	readonly topic: string;
	readonly private: boolean;
	readonly presence?: true;
}

/** The target of a subscription. */
export type Target = TableTarget | TopicTarget;

/**
 * A handler's part in a subscription.
 *
 * @example
 * ```ts
 * const subscription = client.on("claims", "*", (change) => show(change.new));
 * await subscription.ready; // what is committed from here on reaches the handler
 * window.addEventListener("pagehide", () => subscription.off());
 * ```
 */
export interface Subscription {
	/**
	 * Resolves when the server has confirmed the subscription. Rejects with a {@link RealtimeError} when the server
	 * refuses it, when an attempt to connect fails, and when the client is closed. The handler remains, and when the
	 * subscription is requested again, this is a new promise.
	 */
	readonly ready: Promise<void>;
	/** Calls whenever the server confirms the subscription or `ready` rejects; at once if that has already happened. */
	watch(handler: (error?: RealtimeError) => void): Off;
	/** Removes the handler. */
	off(): void;
}
