/**
 * What the parts of a client may ask of it.
 */
import type { Handler } from "./listeners.ts";
import type { Subscription, Target } from "./subscription.ts";

/** The client as its parts see it. */
export interface Wiring {
	/** Sends a frame where there is a connection, and tells whether there was. */
	send(frame: object): boolean;
	/** Acts within the server's rate of frames: at once, or in turn. */
	pace(act: () => void): void;
	/** Sends a frame with an id of its own; settles with its answer. */
	request(frame: object): Promise<void>;
	/** Adds a handler to what is listened to. */
	subscribe<T>(target: Target, handler: Handler<T>): Subscription;
	/** Something has changed that the server is to be told once this turn is over. */
	changed(): void;
	/** Tells whoever listens to errors. */
	report(error: unknown): void;
}
