/**
 * A WebSocket client for the specs: frames are read in order, and nothing waits for time to pass.
 */
import { EventEmitter, once } from "node:events";
import { text } from "node:stream/consumers";
import { WebSocket } from "ws";

/** How long to wait for a frame; only a failing spec waits that long. */
const PATIENCE = 30_000;

/** An upgrade that was answered with a plain HTTP response. */
export class UpgradeRefused extends Error {
	constructor({ statusCode, headers }, body) {
		super(`the upgrade was answered ${statusCode}: ${body}`);
		this.status = statusCode;
		this.retryAfter = headers["retry-after"];
		this.body = body;
	}
}

/**
 * Opens a WebSocket.
 *
 * @param {string} url `ws:` or `http:`
 * @param {{protocols?: string[], headers?: Record<string, string>}} [options] and any other of `ws`
 * @throws {UpgradeRefused}
 */
export async function connect(url, { protocols = [], ...options } = {}) {
	const socket = new WebSocket(url, protocols, options);
	// Before it is open, so that no frame is missed.
	const client = new Client(socket);
	await new Promise((resolve, reject) => {
		socket.once("open", resolve);
		socket.once("error", reject);
		socket.once("unexpected-response", async (request, response) => {
			reject(new UpgradeRefused(response, await text(response)));
			request.destroy();
		});
	});
	return client;
}

class Client {
	/** Every frame so far: parsed JSON, the text that is not JSON, or a Buffer. */
	frames = [];
	/** Resolves when the socket has closed, for whatever reason. */
	closed;
	/** The `ws` socket, for features that are not wrapped here. */
	socket;
	#read = 0;
	#changes = new EventEmitter();
	#ending;

	constructor(socket) {
		this.socket = socket;
		socket.on("message", (data, isBinary) => {
			this.frames.push(isBinary ? data : parseText(data.toString()));
			this.#changes.emit("change");
		});
		this.closed = new Promise((resolve) => {
			socket.on("close", (code, reason) => {
				this.#ending = { code, reason: reason.toString() };
				this.#changes.emit("change");
				resolve(this.#ending);
			});
		});
		// "close" follows, with the same information.
		socket.on("error", () => {});
	}

	/** Sends an object as JSON, a string as text, a Buffer as binary. */
	send(frame) {
		const raw = typeof frame === "string" || Buffer.isBuffer(frame);
		this.socket.send(raw ? frame : JSON.stringify(frame));
	}

	/** The next unread frame that matches; the ones before it count as read. */
	async next(isWanted, patience) {
		const frames = await this.#readUntil(isWanted, patience);
		return frames.at(-1);
	}

	/**
	 * A barrier: sends a frame that the server answers, and waits for the answer. Since frames keep their order, whatever
	 * the server had sent before is here by then, and what is not here was not sent.
	 *
	 * @returns the frames between the last one read and the answer
	 */
	async sync(frame, isAnswer, patience) {
		this.send(frame);
		const frames = await this.#readUntil(isAnswer, patience);
		return frames.slice(0, -1);
	}

	/** Takes the unread frames, and forgets all: for a client that receives more than memory should hold. */
	drain() {
		const frames = this.frames.splice(0).slice(this.#read);
		this.#read = 0;
		return frames;
	}

	/** Closes the socket and waits for the other side to confirm. */
	close(code, reason) {
		this.socket.close(code, reason);
		return this.closed;
	}

	/** The unread frames up to the matching one. */
	async #readUntil(isWanted = () => true, patience = PATIENCE) {
		const deadline = AbortSignal.timeout(patience);
		let end = this.#read;
		do {
			while (end === this.frames.length) await this.#change(deadline);
			end += 1;
		} while (!isWanted(this.frames[end - 1]));
		const frames = this.frames.slice(this.#read, end);
		this.#read = end;
		return frames;
	}

	async #change(deadline) {
		const unread = () => JSON.stringify(this.frames.slice(this.#read));
		if (this.#ending) {
			const { code, reason } = this.#ending;
			throw new Error(`closed (${code} ${reason}) before the wanted frame; unread: ${unread()}`);
		}
		await once(this.#changes, "change", { signal: deadline }).catch(() => {
			throw new Error(`the wanted frame did not come; unread: ${unread()}`);
		});
	}
}

function parseText(data) {
	try {
		return JSON.parse(data);
	} catch {
		return data;
	}
}
