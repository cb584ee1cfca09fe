/**
 * A fallback for networks that block WebSockets: the same frames over HTTP, as an event stream and requests
 * (docs/protocol-event-stream.md). A page that does not import it does not load it.
 */
import type { Socket } from "./connection.ts";

/** The options of the fallback. */
export interface FallbackOptions {
	/**
	 * How many WebSockets in a row must deliver nothing before the event stream is tried. Default: 2; 0: never try a
	 * WebSocket.
	 */
	readonly after?: number;
	/** The WebSocket class. Default: the global one. */
	readonly WebSocket?: new (url: string) => Socket;
	/** Default: the global one. */
	readonly fetch?: typeof fetch;
}

/** After this much silence, in milliseconds, a stream is considered dead: the server sends something every 15 s. */
const MAX_SILENCE = 40_000;
const LOST = 1006;

/**
 * A value for the option `WebSocket`: opens WebSockets, and an event stream if they deliver nothing. After a stream
 * that delivered nothing, or that has ended, a WebSocket is tried again.
 *
 * @example
 * ```ts
 * const client = createClient<App>(url, { ...options, WebSocket: eventStreamFallback() });
 * client.on("claims", "*", (change) => log(change));
 * ```
 */
export function eventStreamFallback(options: FallbackOptions = {}): new (url: string) => Socket {
	const { after = 2, WebSocket = globalThis.WebSocket as unknown as new (url: string) => Socket } = options;
	// Not a method call: browsers refuse to call `fetch` as one.
	const fetches: typeof fetch = options.fetch ?? ((...request) => fetch(...request));
	let silent = 0;
	const open = (url: string): Socket => {
		if (silent < after && WebSocket) {
			silent += 1;
			return new Watched(new WebSocket(url), () => (silent = 0));
		}
		silent = 0;
		// After a stream that worked, one WebSocket is tried; if it fails, the next socket is a stream.
		return new Watched(new EventStreamSocket(url, fetches), () => (silent = Math.max(0, after - 1)));
	};
	// The object that a constructor returns is the result of `new`.
	return function (url: string) {
		return open(url);
	} as unknown as new (url: string) => Socket;
}

/** A socket that reports incoming frames. */
class Watched implements Socket {
	onopen: Socket["onopen"] = null;
	onmessage: Socket["onmessage"] = null;
	onclose: Socket["onclose"] = null;
	onerror: Socket["onerror"] = null;
	#socket: Socket;

	constructor(socket: Socket, heard: () => void) {
		this.#socket = socket;
		socket.onopen = (event) => this.onopen?.(event);
		socket.onmessage = (event) => {
			heard();
			this.onmessage?.(event);
		};
		socket.onclose = (event) => this.onclose?.(event);
		socket.onerror = (event) => this.onerror?.(event);
	}

	send(text: string): void {
		this.#socket.send(text);
	}

	close(code?: number, reason?: string): void {
		this.#socket.close(code, reason);
	}
}

type Frame = { readonly type: string; readonly [key: string]: unknown };

/** The part of a WebSocket that the client uses, over HTTP. The first frame, which authenticates, opens the stream. */
class EventStreamSocket implements Socket {
	onopen: Socket["onopen"] = null;
	onmessage: Socket["onmessage"] = null;
	onclose: Socket["onclose"] = null;
	onerror: Socket["onerror"] = null;
	#address: URL;
	#fetch: typeof fetch;
	#ending = new AbortController();
	#heard = 0;
	#isOpening = false;
	/** The key with which frames are sent. */
	#key: string | undefined;
	/** Resolves once all previous frames have been accepted, so that they keep their order. */
	#sent: Promise<void> = Promise.resolve();

	constructor(url: string, fetches: typeof fetch) {
		this.#address = new URL(url);
		this.#address.protocol = this.#address.protocol.replace("ws", "http");
		this.#address.pathname = this.#address.pathname.replace(/websocket$/, "events");
		this.#fetch = fetches;
		queueMicrotask(() => this.#tell("onopen", {}));
	}

	send(text: string): void {
		const frame = JSON.parse(text) as Frame;
		if (frame.type === "ping") return this.#pong();
		if (!this.#key && !this.#isOpening) return void this.#open(frame);
		this.#sent = this.#sent.then(() => this.#post(text));
	}

	close(): void {
		this.#ending.abort();
	}

	/** Pings are answered here: the stream itself shows that the server is alive. */
	#pong(): void {
		if (Date.now() - this.#heard < MAX_SILENCE) queueMicrotask(() => this.#receive({ type: "pong" }));
	}

	async #open({ token, recover, subscriptions }: Frame): Promise<void> {
		this.#isOpening = true;
		const { searchParams } = this.#address;
		if (subscriptions) searchParams.set("subscriptions", JSON.stringify(subscriptions));
		const { epoch, offset } = recover as { epoch?: string; offset?: number };
		if (epoch) searchParams.set("lastEventId", `${epoch}:${offset}`);
		try {
			const answer = await this.#request(token as string, {});
			if (answer.ok) return await this.#read(answer.body!);
			const { error } = (await answer.json()) as { error: { code: string; message: string } };
			// If part of the frame was refused, it may be sent again without that part; any other refusal ends the socket.
			const isFrame = answer.status === 400;
			this.#isOpening = false;
			this.#receive({ ...error, type: isFrame ? "error" : "auth_error" });
			if (!isFrame) this.#end(1008, error.code);
		} catch {
			this.#end(LOST, "");
		}
	}

	async #read(body: ReadableStream<Uint8Array>): Promise<void> {
		const reader = body.pipeThrough(new TextDecoderStream() as unknown as ReadableWritablePair<string, Uint8Array>).getReader();
		let text = "";
		for (;;) {
			const { done, value } = await reader.read();
			if (done) return this.#end(LOST, "");
			this.#heard = Date.now();
			const blocks = (text + value).split("\n\n");
			text = blocks.pop()!;
			for (const block of blocks) this.#dispatch(block);
		}
	}

	#dispatch(block: string): void {
		const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1];
		const data = field("data");
		if (!data) return;
		const parsed = JSON.parse(data);
		const event = field("event");
		if (event === "stream") this.#key = parsed.key;
		else if (event === "end") this.#end(parsed.code, parsed.reason);
		else this.#tell("onmessage", { data });
	}

	async #post(body: string): Promise<void> {
		try {
			const answer = await this.#request(this.#key!, { method: "POST", body });
			// The result of the frame arrives on the stream; this error means that there is no stream.
			if (!answer.ok) this.#end(LOST, "");
		} catch {
			this.#end(LOST, "");
		}
	}

	#request(bearer: string, init: RequestInit): Promise<Response> {
		const headers = { authorization: `Bearer ${bearer}`, ...(init.body ? { "content-type": "application/json" } : {}) };
		const { origin, pathname, href } = this.#address;
		return this.#fetch(init.body ? origin + pathname : href, { ...init, headers, cache: "no-store", signal: this.#ending.signal });
	}

	#receive(frame: object): void {
		this.#tell("onmessage", { data: JSON.stringify(frame) });
	}

	#end(code: number, reason: string): void {
		if (this.#ending.signal.aborted) return;
		this.#ending.abort();
		this.onclose?.({ code, reason } as never);
	}

	#tell(handler: "onopen" | "onmessage", event: object): void {
		if (!this.#ending.signal.aborted) this[handler]?.(event as never);
	}
}
