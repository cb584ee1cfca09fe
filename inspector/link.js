/**
 * One side: a connection with its token, and its history.
 */
import { Interests } from "./interests.js";
import { clientOf, PROTOCOLS } from "./protocols.js";
import { unpacked } from "./tap.js";
import { expiryOf, organizationsOf } from "./token.js";

/** How many lines of a side's history, and how many refusals, are kept. */
const MAX_LINES = 500;

/**
 * A side. It emits `changed` for everything but events, `event` (with the event in the native form), and `happened`
 * (with the line) for its history.
 */
export class Link extends EventTarget {
	/** `A` or `B`. */
	name;
	/** The name under which the token was offered. */
	label = "";
	organizationId = "";
	/** The protocol. */
	protocol = PROTOCOLS.get("native");
	/** The claims of the token. */
	claimed = { organizations: [], expiry: undefined };
	interests = new Interests(() => this.#changed());
	/** The last `auth_success`. */
	welcome;
	/** How the last socket ended. */
	ended;
	/** Refusals of the server, newest last. */
	refusals = [];
	/** The history, oldest first. */
	history = [];
	counts = { events: 0, connections: 0, recoveries: 0, gaps: 0 };
	/** Offset and time of the last event. */
	last;
	#client;
	#token = "";
	#journal;
	#socket;

	/**
	 * @param {string} name
	 * @param {import("./journal.js").Journal} journal
	 */
	constructor(name, journal) {
		super();
		this.name = name;
		this.#journal = journal;
	}

	/** The client's state; `idle` before the first client. */
	get status() {
		return this.#client?.status ?? { state: "idle", attempt: 0 };
	}

	/** The identity that the server has verified. */
	get identity() {
		return this.#client?.identity;
	}

	/** The position from which a reconnect would continue. */
	get position() {
		return this.#client?.position;
	}

	/** Whether there is a token to reconnect with. */
	get hasToken() {
		return this.#token !== "";
	}

	/** Connects with a token, replacing the current connection; by default with the previous token and protocol. */
	connect({ label = this.label, token = this.#token, organizationId, protocol = this.protocol.id }) {
		this.#client?.close();
		this.#token = token;
		this.protocol = PROTOCOLS.get(protocol);
		Object.assign(this, { label, organizationId, welcome: undefined, ended: undefined, refusals: [], last: undefined });
		this.claimed = { organizations: organizationsOf(token), expiry: expiryOf(token) };
		this.counts = { events: 0, connections: 0, recoveries: 0, gaps: 0 };
		const client = clientOf(protocol, { organizationId, token }, this.#notes());
		this.#client = client;
		client.on.status((status) => this.#stands(status));
		client.on.gap((gap) => this.#missed(gap));
		client.on.error((error) => this.#refused(error));
		this.interests.attach(client, this.protocol);
		client.connect();
	}

	/** Reconnects with the same token, from the current position. */
	resume() {
		this.#client?.connect();
	}

	disconnect() {
		this.#client?.close();
	}

	/** Breaks the connection as a lost network would: the native client reconnects and recovers. */
	drop() {
		this.#happened("drop", "the connection was dropped by hand");
		this.#socket?.drop();
	}

	/** Sends a frame as it is. @throws where it is no JSON, or nothing is connected */
	sendFrame(text) {
		JSON.parse(text);
		if (this.status.state !== "connected") throw new Error(`Connection ${this.name} is not connected.`);
		this.#socket.send(text.trim());
	}

	/** Sends a message to a topic as this user; rejects with the server's refusal. */
	async send({ topic, isPrivate, event, payload }) {
		await this.#client.topic(topic, { private: isPrivate }).send(event, payload);
	}

	#notes() {
		const { isForeign } = this.protocol;
		const note = (direction, frame) => this.#journal.add(this.name, direction, frame, { isForeign });
		return {
			opening: (socket, url) => {
				this.#socket = socket;
				note("none", JSON.stringify({ type: "opening", url }));
			},
			sent: (text) => note("out", text),
			received: (text) => unpacked(text).forEach((frame) => this.#received(note("in", frame))),
			closed: (code, reason) => {
				this.ended = { code, reason };
				note("none", JSON.stringify({ type: "closed", code, reason }));
			},
			event: (event) => this.#arrived(event),
		};
	}

	/** The meaning of a native frame; other protocols' clients report theirs. */
	#received(frame) {
		if (this.protocol.isForeign) return;
		if (frame?.type === "postgres_changes" || frame?.type === "broadcast") this.#arrived(frame);
		else if (frame?.type === "auth_success") this.#welcomed(frame);
		else if (frame?.type === "auth_expired") this.#happened("problem", "the token has expired: 30 seconds are left for a fresh one");
		else if (frame?.type === "auth_error") this.#note(frame);
	}

	#arrived(event) {
		this.counts.events += 1;
		this.last = { time: Date.now(), offset: event.offset };
		this.dispatchEvent(new CustomEvent("event", { detail: event }));
	}

	#welcomed(frame) {
		const isRefresh = this.status.state === "connected";
		this.welcome = isRefresh ? { ...this.welcome, ...frame } : frame;
		if (isRefresh) return this.#happened("good", "the token was refreshed");
		this.counts.connections += 1;
		const { offset, recovered } = frame;
		if (recovered) this.counts.recoveries += 1;
		const replay = { true: "; recovered: what was missed follows", false: "; not recovered: what was missed is gone" }[recovered] ?? "";
		this.#happened(recovered === false ? "problem" : "good", `connected at offset ${offset}${replay}`);
	}

	#stands(status) {
		const { state, error, retryAt } = status;
		const why = error && `${error.code}: ${error.message}`;
		if (state === "connecting") this.#happened("step", status.attempt > 0 ? `attempt ${status.attempt + 1}` : "connecting");
		if (state === "connected" && this.protocol.isForeign) {
			this.counts.connections += 1;
			this.#happened("good", `connected as a client of ${this.protocol.title}`);
		}
		if (state === "waiting") this.#happened("problem", `ended, ${why} Next attempt in ${((retryAt - Date.now()) / 1_000).toFixed(1)} s.`);
		if (state === "closed") this.#happened(error ? "problem" : "step", error ? `closed for good, ${why}` : "disconnected");
		this.#changed();
	}

	#missed({ from, to }) {
		this.counts.gaps += 1;
		const lost = from.epoch === to.epoch ? `up to ${to.offset - from.offset} events` : "everything: the stream began anew";
		this.#happened("problem", `gap from offset ${from.offset} to ${to.offset}; missed ${lost}`);
	}

	#refused(error) {
		this.#note(error);
		this.interests.refused(error);
		this.#happened("problem", `refused, ${error.code}: ${error.message}`);
		this.#changed();
	}

	#note({ code, message, target }) {
		this.refusals.push({ time: Date.now(), code, message, target });
		this.refusals.splice(0, this.refusals.length - MAX_LINES);
	}

	#happened(kind, text) {
		const line = { time: Date.now(), side: this.name, kind, text };
		this.history.push(line);
		this.history.splice(0, this.history.length - MAX_LINES);
		this.dispatchEvent(new CustomEvent("happened", { detail: line }));
		this.#changed();
	}

	#changed() {
		this.dispatchEvent(new Event("changed"));
	}
}
