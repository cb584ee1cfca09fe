/**
 * A client of another protocol, with the part of the SDK's client that this page uses. It does not reconnect
 * automatically, so that the end of a connection can be examined.
 */
import { tapped } from "./tap.js";

const BY_HAND = 1000;

/**
 * Speaks a dialect. What a frame means is the dialect's to say, as a list of
 *
 * - `{identity}`: the connection stands, and this is who it is
 * - `{standing: id}`, `{refused: id, error}`: what became of a subscription
 * - `{event, ids}`: an event in the native form, and the subscriptions that let it through
 * - `{sent: ref}`, `{unsent: ref, error}`: what became of a message
 * - `{error}`: a refusal of anything else
 */
export class ForeignClient {
	/** The identity that the server or the token states. */
	identity;
	/** These protocols have no positions, unless requested. */
	position = undefined;
	status = { state: "idle", attempt: 0 };
	/** Presence is shown as frames only. */
	presence = { on: () => ({ off() {} }), track() {}, untrack() {} };
	/** Handlers: of a table's changes, and of the client's state. */
	on = Object.assign((table, event, handler, options) => this.#subscribe({ table, event, ...options }, handler), {
		status: (handler) => (this.#told.status = handler),
		error: (handler) => (this.#told.error = handler),
		gap() {},
	});
	#told = { status() {}, error() {} };
	#dialect;
	#notes;
	#socket;
	#heartbeat;
	#subscriptions = new Map();
	#messages = new Map();
	#last = 0;
	/** The last refusal of the socket, which is the reason for its end. */
	#error;

	constructor(dialect, notes) {
		this.#dialect = dialect;
		this.#notes = notes;
	}

	connect() {
		const Socket = tapped(this.#notes);
		const socket = new Socket(new URL(this.#dialect.address, location.origin.replace(/^http/, "ws")).href);
		this.#socket = socket;
		this.#error = undefined;
		this.#stands({ state: "connecting", attempt: 0 });
		socket.addEventListener("open", () => this.#opened());
		socket.addEventListener("message", ({ data }) => this.#dialect.read(JSON.parse(data)).forEach((meaning) => this.#learn(meaning)));
		socket.addEventListener("close", (event) => this.#ended(socket, event));
	}

	close() {
		const socket = this.#socket;
		this.#socket = undefined;
		clearInterval(this.#heartbeat);
		socket?.close(BY_HAND);
		if (socket) this.#stands({ state: "closed", attempt: 0 });
	}

	/** A topic, of which this page needs only the messages. */
	topic(topic, { private: isPrivate }) {
		return {
			on: (_event, handler) => this.#subscribe({ topic, private: isPrivate }, handler),
			send: (event, payload) => this.#send({ topic, isPrivate, event, payload }),
			presence: this.presence,
		};
	}

	#subscribe(target, handler) {
		const id = String((this.#last += 1));
		const answer = Promise.withResolvers();
		// Code that does not await it learns of it through `on.error`.
		answer.promise.catch(() => {});
		this.#subscriptions.set(id, { target, handler, answer });
		if (this.status.state === "connected") this.#ask(id);
		return { ready: answer.promise, off: () => this.#leave(id) };
	}

	#ask(id) {
		try {
			this.#write(this.#dialect.subscribe(id, this.#subscriptions.get(id).target));
		} catch (error) {
			this.#refused(id, { code: "unsupported", message: error.message });
		}
	}

	#leave(id) {
		if (!this.#subscriptions.delete(id) || this.status.state !== "connected") return;
		this.#write(this.#dialect.unsubscribe(id));
	}

	async #send(message) {
		const ref = `message-${(this.#last += 1)}`;
		const answer = Promise.withResolvers();
		const frames = this.#dialect.send(ref, message);
		this.#messages.set(ref, answer);
		this.#write(frames);
		return answer.promise;
	}

	#write(frames) {
		for (const frame of frames) this.#socket?.send(JSON.stringify(frame));
	}

	#opened() {
		const { heartbeat } = this.#dialect;
		if (heartbeat) this.#heartbeat = setInterval(() => this.#write([heartbeat.frame]), heartbeat.every);
		for (const meaning of this.#dialect.opened()) this.#learn(meaning);
	}

	#learn({ identity, standing, refused, event, ids, sent, unsent, error }) {
		if (identity) {
			this.identity = identity;
			this.#stands({ state: "connected", attempt: 0 });
			for (const id of this.#subscriptions.keys()) this.#ask(id);
		} else if (standing !== undefined) this.#subscriptions.get(standing)?.answer.resolve();
		else if (refused !== undefined) this.#refused(refused, error);
		else if (event) this.#arrived(event, ids);
		else if (sent !== undefined) this.#messages.get(sent)?.resolve();
		else if (unsent !== undefined) this.#messages.get(unsent)?.reject(errorOf(error));
		else {
			this.#error = errorOf(error);
			this.#told.error(this.#error);
		}
	}

	#refused(id, { code, message }) {
		const { target, answer } = this.#subscriptions.get(id) ?? {};
		if (!target) return;
		const error = Object.assign(errorOf({ code, message }), { target });
		answer.reject(error);
		this.#told.error(error);
	}

	#arrived(event, ids) {
		for (const id of ids) this.#subscriptions.get(id)?.handler(event);
		this.#notes.event(event);
	}

	#ended(socket, { code, reason }) {
		if (socket !== this.#socket) return;
		this.#socket = undefined;
		clearInterval(this.#heartbeat);
		for (const answer of this.#messages.values()) answer.reject(errorOf({ code: "disconnected", message: "The connection ended first." }));
		this.#messages.clear();
		const silent = { code: "disconnected", message: "The upgrade was refused, or the network failed: the browser does not tell a page which." };
		this.#stands({ state: "closed", attempt: 0, error: this.#error ?? errorOf(reason ? { code: String(code), message: reason } : silent) });
	}

	#stands(status) {
		this.status = status;
		this.#told.status(status);
	}
}

function errorOf({ code, message }) {
	return Object.assign(new Error(message), { code });
}
