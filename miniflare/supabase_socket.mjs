/**
 * The WebSocket that Supabase's clients find under its global name, and queues for what arrives.
 */
import { EventEmitter, once } from "node:events";

/** How long to wait for an event: refused joins are answered late on purpose. Only a failing spec waits that long. */
const PATIENCE = 15_000;

// 2.119's `disconnect` leaves a timer of ten seconds behind, for which a process would wait. A server keeps it alive
// anyway.
const { setTimeout: startTimer } = globalThis;
globalThis.setTimeout = (...words) => startTimer(...words).unref();

/** Items in the order in which they arrived; nothing waits for time to pass. */
export class Inbox {
	/** Everything so far. */
	items = [];
	#read = 0;
	#changes = new EventEmitter().setMaxListeners(0);

	push(item) {
		this.items.push(item);
		this.#changes.emit("change");
	}

	/** The next unread item that matches; the ones before it count as read. */
	async next(isWanted = () => true) {
		return this.#wait(() => {
			while (this.#read < this.items.length) {
				const item = this.items[this.#read];
				this.#read += 1;
				if (isWanted(item)) return item;
			}
		});
	}

	/** The first that matches, read or not. */
	find(isWanted) {
		return this.#wait(() => this.items.find(isWanted));
	}

	/** Waits until a condition holds that only a new item can make true. */
	until(condition) {
		return this.#wait(() => condition() || undefined);
	}

	/** The unread items, which then count as read. */
	unread() {
		const items = this.items.slice(this.#read);
		this.#read = this.items.length;
		return items;
	}

	async #wait(find) {
		const deadline = AbortSignal.timeout(PATIENCE);
		for (;;) {
			const found = find();
			if (found !== undefined) return found;
			await once(this.#changes, "change", { signal: deadline }).catch(() => {
				throw new Error(`did not come; so far: ${JSON.stringify(this.items.slice(-10))}`);
			});
		}
	}
}

/** Every socket that was opened so far. */
export const sockets = [];
let barriers = 0;

/** The platform's WebSocket, which also records its frames. The clients of all versions look it up by its name. */
export class Socket extends WebSocket {
	/** Frames of the server, in one shape for both protocols; binary ones as `{kind, bytes}`. */
	received = new Inbox();
	/** Frames of the client, likewise. */
	sent = new Inbox();
	/** Resolves when it has closed, with its code. */
	closed = new Promise((resolve) => this.addEventListener("close", ({ code }) => resolve(code)));

	constructor(url, protocols) {
		super(url, protocols);
		sockets.push(this);
		// Before the client's own, so that a frame is recorded before the client reacts to it.
		this.addEventListener("message", ({ data }) => this.received.push(read(data)));
	}

	send(data) {
		this.sent.push(read(data));
		super.send(data);
	}

	get vsn() {
		return new URL(this.url).searchParams.get("vsn");
	}

	/** A barrier: frames are ordered, so whatever the server had sent before has arrived when this is answered. */
	async sync() {
		const ref = `barrier-${(barriers += 1)}`;
		const [topic, event, payload] = ["phoenix", "heartbeat", {}];
		const frame = this.vsn === "1.0.0" ? { topic, event, payload, ref } : [null, ref, topic, event, payload];
		// A reference that the client does not use.
		super.send(JSON.stringify(frame));
		await this.received.find((frame) => frame.ref === ref);
	}
}
globalThis.WebSocket = Socket;

function read(data) {
	if (typeof data !== "string") return { kind: new Uint8Array(data)[0], bytes: Buffer.from(data) };
	const frame = JSON.parse(data);
	if (!Array.isArray(frame)) return { ...frame, raw: data };
	const [join_ref, ref, topic, event, payload] = frame;
	return { join_ref, ref, topic, event, payload, raw: data };
}
