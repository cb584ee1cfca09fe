/**
 * What one can listen to, and a handler's place in it.
 */
import type { ChangeType } from "./definitions.ts";
import type { RealtimeError } from "./error.ts";
import type { Off } from "./listeners.ts";

/** Rows of a table. `*` is any table, any schema. */
export interface TableTarget {
	readonly table: string;
	readonly schema: string;
	readonly event: ChangeType | "*";
	/** Absent when every row is wanted. */
	readonly filter?: string;
}

/** What is published to a topic, or who is present there. */
export interface TopicTarget {
	readonly topic: string;
	readonly private: boolean;
	readonly presence?: true;
}

/** What a subscription is to. */
export type Target = TableTarget | TopicTarget;

/**
 * A handler's place among the subscriptions.
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
	 * Settles when the server has confirmed the subscription; rejects with a {@link RealtimeError} when it has refused it,
	 * when an attempt to connect fails, and when the client is closed. The handler stays, and when it is asked for again,
	 * this is another promise.
	 */
	readonly ready: Promise<void>;
	/** Calls whenever the server confirms the subscription, or `ready` rejects; at once where that has been. */
	watch(handler: (error?: RealtimeError) => void): Off;
	/** Takes the handler away. */
	off(): void;
}
