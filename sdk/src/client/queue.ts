/**
 * Messages that wait for a connection: stored across reloads, sent in order, and settled once they are accepted.
 */
import type { Client } from "./client.ts";
import { RealtimeError } from "./error.ts";
import type { Off } from "./listeners.ts";

/** A waiting message. */
export interface Queued {
	/** Its idempotency key, the same in every attempt. */
	readonly id: string;
	readonly topic: string;
	/** `false`: a public topic. */
	readonly private?: boolean;
	readonly event: string;
	readonly payload: unknown;
}

/** Where messages are stored, for example `localStorage`. */
export interface QueueStorage {
	getItem(key: string): string | null;
	setItem(key: string, text: string): void;
}

/** The options of a queue. */
export interface QueueOptions {
	/**
	 * Delivers one message. If it throws, delivery is retried with the same `id`, unless the error is a refusal (a
	 * `RealtimeError` that a retry cannot fix). Default: publishes to the client's topic with this `id` as the key.
	 * Either that or an API that publishes with the `id` delivers a message whose answer was lost only once, if the
	 * retry comes within ten minutes.
	 */
	readonly deliver?: (message: Queued) => Promise<unknown>;
	/** Stores waiting messages across page reloads. Only one page at a time may use it. Default: memory. */
	readonly storage?: QueueStorage;
	/** The key in `storage`; use one per user. Default: `realtime-queue`. */
	readonly key?: string;
	/** How many messages may wait; further ones are refused (`queue_full`). Default: 1000. */
	readonly max?: number;
	/** Milliseconds before the first retry; doubled each time, up to 30 s. Default: 1000. */
	readonly delay?: number;
}

/** Messages that wait for a connection. */
export interface Queue {
	/** Sends once there is a connection. Resolves when the message is accepted, and rejects when it is refused. */
	send(topic: string, event: string, payload: unknown, options?: { readonly private?: boolean; readonly id?: string }): Promise<void>;
	/** The waiting messages, the next one first. */
	readonly waiting: readonly Queued[];
	/** Stops sending. Waiting messages remain in the storage. */
	close(): void;
}

/** Codes after which a retry may succeed. */
const PASSING = /^(disconnected|closed|rate_limited|overloaded|internal|network|timeout)$/;
const MAX_DELAY = 30_000;

/**
 * A queue of messages to topics. Without a connection they wait. With one, they are sent in order, each after the
 * previous one was accepted. Messages that an earlier page left in `storage` are sent first.
 *
 * @example
 * ```ts
 * const queue = createQueue(client, { storage: sessionStorage });
 * client.connect();
 * queue.send("room:1", "cursor", { x: 1, y: 2 }).then(() => console.log("taken"));
 * ```
 */
export function createQueue(client: Client<any>, options: QueueOptions = {}): Queue {
	const topics = client as unknown as Client;
	const { storage, key = "realtime-queue", max = 1_000, delay = 1_000 } = options;
	const say = ({ id, topic, private: isPrivate = true, event, payload }: Queued) =>
		topics.topic(topic, { private: isPrivate }).send(event, payload, { key: id });
	const { deliver = say } = options;
	const waiting: Queued[] = parse(storage?.getItem(key));
	const promises = new Map<string, { resolve: () => void; reject: (error: unknown) => void }>();
	let isRunning = false;
	let isClosed = false;
	let wake: Off | undefined;

	const save = () => storage?.setItem(key, JSON.stringify(waiting));
	const settle = (id: string, error?: unknown) => {
		waiting.shift();
		save();
		if (error) promises.get(id)?.reject(error);
		else promises.get(id)?.resolve();
		promises.delete(id);
	};
	/** Until the connection is back, or the retry is due. */
	const pause = (wait: number) =>
		new Promise<void>((resolve) => {
			const timer = setTimeout(() => wake?.(), wait);
			const off = client.on.status(({ state }) => state === "connected" && wake?.());
			wake = () => {
				clearTimeout(timer);
				off();
				wake = undefined;
				resolve();
			};
		});

	const run = async () => {
		if (isRunning) return;
		isRunning = true;
		for (let tried = 0; waiting.length > 0 && !isClosed; ) {
			const [message] = waiting as [Queued];
			try {
				await deliver(message);
				settle(message.id);
				tried = 0;
			} catch (error) {
				const isFinal = error instanceof RealtimeError && !PASSING.test(error.code);
				if (isFinal) settle(message.id, error);
				else if (!isClosed) await pause(Math.min(MAX_DELAY, delay * 2 ** tried++));
			}
		}
		isRunning = false;
	};

	void run();
	return {
		send(topic, event, payload, { private: isPrivate, id = crypto.randomUUID() } = {}) {
			if (waiting.length >= max) return Promise.reject(new RealtimeError("queue_full", "Too many messages wait for a connection."));
			waiting.push({ id, topic, ...(isPrivate !== undefined && { private: isPrivate }), event, payload });
			save();
			const settled = new Promise<void>((resolve, reject) => promises.set(id, { resolve, reject }));
			void run();
			return settled;
		},
		get waiting() {
			return [...waiting];
		},
		close() {
			isClosed = true;
			wake?.();
		},
	};
}

/** Messages left by an earlier page; none if they cannot be read. */
function parse(text: string | null | undefined): Queued[] {
	try {
		const left = JSON.parse(text ?? "[]") as unknown;
		return Array.isArray(left) ? left : [];
	} catch {
		return [];
	}
}
