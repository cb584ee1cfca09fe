/**
 * The V8 heap of an isolate, of which Cloudflare counts the memory: not that of workerd as a whole. The memory of the Wasm is not in it.
 */
import { once } from "node:events";
import { WebSocket } from "ws";

/** @param {URL} inspector where workerd's inspector listens; it answers nothing about the garbage, so that is counted too */
export async function heapOf(inspector) {
	const targets = await (await fetch(new URL("/json", inspector.href.replace(/^ws/, "http")))).json();
	// The Worker is the first; others are Miniflare's own.
	const session = await Session.open(targets[0].webSocketDebuggerUrl);
	try {
		const { usedSize } = await session.ask("Runtime.getHeapUsage");
		return usedSize;
	} finally {
		session.close();
	}
}

class Session {
	#socket;
	#last = 0;
	#waiting = new Map();

	static async open(url) {
		const session = new Session();
		session.#socket = new WebSocket(url, { perMessageDeflate: false });
		session.#socket.on("message", (data) => {
			const { id, result, error } = JSON.parse(data);
			const { resolve, reject } = session.#waiting.get(id) ?? {};
			if (error) reject?.(new Error(error.message));
			else resolve?.(result);
		});
		await once(session.#socket, "open");
		return session;
	}

	ask(method, params = {}) {
		this.#last += 1;
		this.#socket.send(JSON.stringify({ id: this.#last, method, params }));
		return new Promise((resolve, reject) => this.#waiting.set(this.#last, { resolve, reject }));
	}

	close() {
		this.#socket.close();
	}
}
