/**
 * A client of Fluxbase as its SDK behaves (docs/protocol-fluxbase.md): a socket for each channel, which opens itself again,
 * subscribes again and is tracked again. It is ready when the server has acknowledged everything that it asked for.
 */
import { EventEmitter, once } from "node:events";
import { WebSocket } from "ws";

/** How long to wait for an event; only a failing spec waits that long. */
const PATIENCE = 30_000;
const FIRST_DELAY = 20;
const LONGEST_DELAY = 1_000;

export class FluxbaseChannel {
	/** Row changes as listeners receive them: `{ eventType, schema, table, new, old }`. */
	changes = [];
	/** Messages: `{ event, payload }`. */
	messages = [];
	/** The members, by key. */
	presence = {};
	/** Every frame, in order. */
	frames = [];
	/** How many times the socket was opened. */
	opened = 0;
	#url;
	#name;
	#token;
	#bindings;
	#hearsItself;
	#socket;
	#waiting = 0;
	#ready = false;
	#tracked;
	#messages = 0;
	#closing = false;
	#failures = 0;
	#events = new EventEmitter();

	/**
	 * @param {string} server its address
	 * @param {string} name of the channel
	 * @param {{token?: string, bindings?: object[], self?: boolean}} [options] `bindings`: the tables that are listened to
	 */
	constructor(server, name, { token, bindings = [], self = false } = {}) {
		this.#url = `${server.replace(/^http/, "ws")}/realtime`;
		[this.#name, this.#token, this.#bindings, this.#hearsItself] = [name, token, bindings, self];
		this.#open();
	}

	/** Every request is acknowledged. */
	ready() {
		return this.until(() => this.#ready);
	}

	/** Waits until a condition holds; it is checked after every frame. */
	async until(holds) {
		const deadline = AbortSignal.timeout(PATIENCE);
		while (!holds()) {
			await once(this.#events, "change", { signal: deadline }).catch(() => {
				throw new Error(`it did not come: ${holds}; frames: ${JSON.stringify(this.frames.slice(-5))}`);
			});
		}
	}

	/** Publishes, and waits for the acknowledgement. */
	async send(event, payload) {
		const messageId = `msg_${(this.#messages += 1)}`;
		this.raw({ type: "broadcast", channel: this.#name, event, payload, messageId });
		const answer = await this.#answer((frame) => frame.messageId === messageId);
		return answer.status ?? answer.error;
	}

	track(key, state) {
		this.#tracked = { key, state };
		this.raw({ type: "presence", channel: this.#name, event: "track", payload: this.#tracked });
	}

	untrack() {
		const { key } = this.#tracked;
		this.#tracked = undefined;
		this.raw({ type: "presence", channel: this.#name, event: "untrack", payload: { key } });
	}

	/** Continues with a fresh token. */
	async setAuth(token) {
		this.#token = token;
		this.raw({ type: "access_token", token });
		return this.#answer(({ type, payload }) => type === "error" || payload?.type === "access_token");
	}

	raw(frame) {
		this.#socket.send(JSON.stringify(frame));
	}

	/** Closes the socket for good. */
	async close() {
		this.#closing = true;
		// A socket that is still opening emits an error before its close, which `once` would take.
		const closed = new Promise((resolve) => this.#socket.on("close", resolve));
		if (this.#socket.readyState === WebSocket.CLOSED) return;
		this.#socket.close();
		await closed;
	}

	async #answer(isIt) {
		const from = this.frames.length;
		await this.until(() => this.frames.slice(from).some(isIt));
		return this.frames.slice(from).find(isIt);
	}

	#open() {
		const query = this.#token ? `?token=${this.#token}` : "";
		this.#socket = new WebSocket(this.#url + query);
		this.#socket.on("open", () => this.#join());
		this.#socket.on("message", (data) => this.#hear(JSON.parse(data.toString())));
		this.#socket.on("error", () => {});
		this.#socket.on("close", () => this.#lost());
	}

	#join() {
		this.opened += 1;
		this.#failures = 0;
		const subscribe = { type: "subscribe", channel: this.#name };
		const frames = this.#bindings.map((config) => ({ ...subscribe, config }));
		if (frames.length === 0) frames.push(subscribe);
		this.#waiting = frames.length;
		for (const frame of frames) this.raw(frame);
		if (this.#tracked) this.track(this.#tracked.key, this.#tracked.state);
	}

	#lost() {
		this.#ready = false;
		this.#events.emit("change");
		if (this.#closing) return;
		const longest = Math.min(FIRST_DELAY * 2 ** (this.#failures += 1), LONGEST_DELAY);
		const again = setTimeout(() => this.#closing || this.#open(), longest * (0.5 + Math.random() / 2));
		// A failing spec closes nothing; without its server, nobody waits for this any more.
		again.unref();
	}

	#hear(frame) {
		this.frames.push(frame);
		const { type, payload } = frame;
		const isSubscription = type === "ack" && (frame.channel === this.#name || payload?.subscribed);
		if (isSubscription && (this.#waiting -= 1) === 0) this.#ready = true;
		if (type === "postgres_changes" || (type === "broadcast" && payload.table)) this.changes.push(change(payload));
		const broadcast = type === "broadcast" ? payload.broadcast : undefined;
		if (broadcast && (this.#hearsItself || !broadcast.self)) this.messages.push(broadcast);
		if (type === "presence") this.presence = payload.presence.currentPresences;
		this.#events.emit("change");
	}
}

function change(payload) {
	const row = payload.new_record ?? payload.new ?? payload.record ?? {};
	const { type: eventType, schema, table, old_record: old = {} } = payload;
	return { eventType, schema, table, new: row, old };
}
