/**
 * What the parts of a client may use of it.
 */
import type { Handler } from "./listeners.ts";
import type { Subscription, Target } from "./subscription.ts";

/** The client as its parts see it. */
export interface Wiring {
	/** Sends a frame if there is a connection, and returns whether there was. */
	send(frame: object): boolean;
	/** Acts within the server's rate limit: at once, or in turn. */
	pace(act: () => void): void;
	/** Sends a frame with its own id; resolves with the answer. */
	request(frame: object): Promise<void>;
	/** Adds an event handler. */
	subscribe<T>(target: Target, handler: Handler<T>): Subscription;
	/** Schedules sending what has changed, at the end of this turn. */
	changed(): void;
	/** Reports an error to its handlers. */
	report(error: unknown): void;
}
