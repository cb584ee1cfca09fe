/**
 * A tapped socket, which records every frame in both directions.
 */

/**
 * A WebSocket class for a client. Its frames are noted before the client sees them.
 *
 * @param {{opening(socket: {drop(): void}, url: string): void, sent(text: string): void, received(text: string): void,
 *   closed(code: number, reason: string): void}} notes
 */
export function tapped(notes) {
	return class extends WebSocket {
		constructor(address) {
			super(address);
			notes.opening(this, withoutSecrets(address));
			this.addEventListener("message", ({ data }) => notes.received(String(data)));
			this.addEventListener("close", ({ code, reason }) => notes.closed(code, reason));
		}

		send(text) {
			notes.sent(withoutToken(text));
			super.send(text);
		}

		/** Ends as if the network were lost. */
		drop() {
			this.close(...DROPPED);
		}
	};
}

/** The close code of a socket that is dropped by hand. */
const DROPPED = [4000, "dropped by hand"];

/** The same for an event stream, given its class, which has only handlers. */
export function tappedStream(Stream, notes) {
	return class {
		onopen = null;
		onmessage = null;
		onclose = null;
		onerror = null;
		#stream;

		constructor(address) {
			this.#stream = new Stream(address);
			notes.opening(this, address.replace(/^ws/, "http").replace(/websocket(?=$|\?)/, "events"));
			this.#stream.onopen = (event) => this.onopen?.(event);
			this.#stream.onmessage = (event) => {
				notes.received(String(event.data));
				this.onmessage?.(event);
			};
			this.#stream.onclose = (event) => this.#closed(event);
		}

		send(text) {
			notes.sent(withoutToken(text));
			this.#stream.send(text);
		}

		close(code, reason) {
			this.#stream.close(code, reason);
			notes.closed(code ?? 1000, reason ?? "");
		}

		drop() {
			this.#stream.close();
			const [code, reason] = DROPPED;
			this.#closed({ code, reason });
		}

		#closed(event) {
			notes.closed(event.code, event.reason);
			this.onclose?.(event);
		}
	};
}

/** The frames in a text: the events of a batch are shown as if each had arrived in its own frame. */
export function unpacked(text) {
	const frame = JSON.parse(text);
	return frame.type === "batch" ? frame.events.map((event) => JSON.stringify(event)) : [text];
}

const hidden = (secret) => `(hidden: ${secret.length} characters)`;

/** The keys under which frames carry tokens, at any depth. */
const TOKENS = ["token", "access_token", "user_token"];

/** Frames that are shown, searched or copied contain no token. */
function withoutToken(text) {
	if (!TOKENS.some((key) => text.includes(key))) return text;
	return JSON.stringify(JSON.parse(text, (key, value) => (TOKENS.includes(key) && typeof value === "string" ? hidden(value) : value)));
}

/** The parameters of an address that contain a credential. */
const SECRETS = ["apikey", "token"];

function withoutSecrets(address) {
	const url = new URL(address, location.origin);
	for (const name of SECRETS) if (url.searchParams.has(name)) url.searchParams.set(name, hidden(url.searchParams.get(name)));
	return decodeURIComponent(url.href.replaceAll("+", " "));
}
