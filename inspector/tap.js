/**
 * The wire, listened to: a WebSocket that notes every frame of both directions.
 */

/**
 * A WebSocket class for a client. Its frames are noted before the client sees them.
 *
 * @param {{opening(socket: WebSocket): void, sent(text: string): void, received(text: string): void,
 *   closed(code: number, reason: string): void}} notes
 */
export function tapped(notes) {
	return class extends WebSocket {
		constructor(address) {
			super(address);
			notes.opening(this);
			this.addEventListener("message", ({ data }) => notes.received(String(data)));
			this.addEventListener("close", ({ code, reason }) => notes.closed(code, reason));
		}

		send(text) {
			notes.sent(withoutToken(text));
			super.send(text);
		}
	};
}

/** The frames that a text stands for: the events of a batch are shown as if each had come in a frame of its own. */
export function unpacked(text) {
	const frame = JSON.parse(text);
	return frame.type === "batch" ? frame.events.map((event) => JSON.stringify(event)) : [text];
}

/** What is shown, searched and copied has no token in it. */
function withoutToken(text) {
	const frame = JSON.parse(text);
	if (typeof frame.token !== "string") return text;
	return JSON.stringify({ ...frame, token: `(hidden: ${frame.token.length} characters)` });
}
