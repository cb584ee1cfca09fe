/**
 * An `EventSource` for the specs, as WHATWG HTML describes one: it reads server-sent events, notes the last id and the
 * time to wait, and comes back with the id whenever the stream ends. Beyond that it can send headers, as clients of
 * servers do, and be cut off.
 */
import { EventEmitter, once } from "node:events";

/** How long to wait for an event; only a failing spec waits that long. */
const PATIENCE = 30_000;

/**
 * Opens a stream.
 *
 * @param {string} url
 * @param {{headers?: Record<string, string>, fetch?: typeof fetch, lastEventId?: string, returns?: boolean}} [options]
 *   `returns`: `false` to end with the first stream
 */
export function eventSource(url, options) {
	return new EventSource(url, options);
}

class EventSource {
	/** Every event so far: `{type, data, id}`, data parsed. */
	events = [];
	/** The status of each response, and its `content-type`. */
	responses = [];
	lastEventId;
	/** Milliseconds to wait before reconnecting. */
	retry = 3_000;
	/** How many comments were received. */
	comments = 0;
	#url;
	#options;
	#read = 0;
	#changes = new EventEmitter();
	#cut;
	#closed = false;
	#done;

	constructor(url, { headers = {}, fetch: fetches = fetch, lastEventId, returns = true } = {}) {
		this.#url = url;
		this.#options = { headers, fetches, returns };
		this.lastEventId = lastEventId;
		this.#done = this.#live();
	}

	/** The next unread event that matches; the ones before it count as read. */
	async next(isWanted = () => true, patience = PATIENCE) {
		const deadline = AbortSignal.timeout(patience);
		for (;;) {
			while (this.#read < this.events.length) {
				const event = this.events[this.#read];
				this.#read += 1;
				if (isWanted(event)) return event;
			}
			await this.#change(deadline);
		}
	}

	/** The data of the next frame of this type; the events before it count as read. */
	async frame(type, isWanted = () => true) {
		const is = (event) => event.type === "message" && event.data.type === type && isWanted(event.data);
		return (await this.next(is)).data;
	}

	/** The unread frames. */
	unread() {
		const events = this.events.slice(this.#read);
		this.#read = this.events.length;
		return events.filter(({ type }) => type === "message").map(({ data }) => data);
	}

	/** The response number `count`, counted from 1, once it has arrived. */
	async response(count) {
		const deadline = AbortSignal.timeout(PATIENCE);
		while (this.responses.length < count) await this.#change(deadline);
		return this.responses[count - 1];
	}

	/** Breaks the connection, as a network does; it reconnects by itself. */
	cut() {
		this.#cut.abort();
	}

	close() {
		this.#closed = true;
		this.#cut?.abort();
		return this.#done;
	}

	async #change(deadline) {
		await once(this.#changes, "change", { signal: deadline }).catch(() => {
			throw new Error(`nothing came; unread: ${JSON.stringify(this.events.slice(this.#read))}, ${JSON.stringify(this.responses)}`);
		});
	}

	async #live() {
		do {
			this.#cut = new AbortController();
			await this.#stream().catch(() => {});
			if (this.responses.at(-1)?.status !== 200 || this.#closed) return;
			await new Promise((resolve) => setTimeout(resolve, Math.min(this.retry, 200)).unref());
		} while (this.#options.returns && !this.#closed);
	}

	async #stream() {
		const { headers, fetches } = this.#options;
		const known = this.lastEventId ? { "last-event-id": this.lastEventId } : {};
		const init = { headers: { accept: "text/event-stream", ...headers, ...known }, signal: this.#cut.signal };
		const response = await fetches(this.#url, init);
		const isStream = response.status === 200;
		const body = isStream ? undefined : await response.json();
		this.responses.push({ status: response.status, headers: response.headers, body });
		this.#changes.emit("change");
		if (!isStream) return;
		let text = "";
		for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
			const blocks = (text + chunk).split("\n\n");
			text = blocks.pop();
			blocks.forEach((block) => this.#dispatch(block));
			this.#changes.emit("change");
		}
	}

	#dispatch(block) {
		const event = { type: "message", data: [] };
		for (const line of block.split("\n")) {
			const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
			if (name === "") this.comments += 1;
			if (name === "id") this.lastEventId = value;
			if (name === "retry") this.retry = Number(value);
			if (name === "event") event.type = value;
			if (name === "data") event.data.push(value);
		}
		if (event.data.length > 0) this.events.push({ ...event, data: JSON.parse(event.data.join("\n")), id: this.lastEventId });
	}
}
