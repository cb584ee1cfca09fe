/**
 * What the Worker is measured against: the least that a Durable Object with hibernating sockets can do. It knows nobody,
 * sends what it is given to everyone, and keeps it only where it is asked to, as one row of a table with one index. Where
 * it is asked to, it also knows its sockets by an id, and has something attached to each.
 */
import { DurableObject } from "cloudflare:workers";

export class Bare extends DurableObject {
	/** Of the newest row; undefined until it is read. */
	#offset;
	/** What it has listed of its sockets in this life. */
	#listed;

	async fetch(request) {
		const { searchParams } = new URL(request.url);
		if (request.headers.get("upgrade") === "websocket") {
			const { 0: client, 1: server } = new WebSocketPair();
			this.ctx.acceptWebSocket(server, searchParams.has("attach") ? [crypto.randomUUID()] : []);
			if (searchParams.has("attach")) server.serializeAttachment(searchParams.get("attach"));
			return new Response(null, { status: 101, webSocket: client });
		}
		if (searchParams.has("list")) return Response.json((this.#listed ??= this.#list()));
		const isBinary = request.headers.get("content-type") === "application/octet-stream";
		const frame = await (isBinary ? request.arrayBuffer() : request.text());
		const sockets = this.ctx.getWebSockets();
		for (const socket of sockets) socket.send(frame);
		if (searchParams.has("keep")) this.#keep(frame);
		return Response.json({ delivered: sockets.length }, { status: 202 });
	}

	/** How many sockets are open, and how much is attached to them. */
	#list() {
		const places = new Map();
		let attached = 0;
		for (const socket of this.ctx.getWebSockets()) {
			if (socket.readyState !== WebSocket.OPEN) continue;
			places.set(this.ctx.getTags(socket)[0], places.size);
			attached += socket.deserializeAttachment().length;
		}
		return { sockets: places.size, attached };
	}

	#keep(frame) {
		const { sql } = this.ctx.storage;
		if (this.#offset === undefined) {
			sql.exec("CREATE TABLE IF NOT EXISTS history (offset INTEGER PRIMARY KEY, time INTEGER, place TEXT, text TEXT)");
			sql.exec("CREATE INDEX IF NOT EXISTS history_by_place ON history (place, offset)");
			this.#offset = sql.exec("SELECT coalesce(max(offset), 0) AS newest FROM history").one().newest;
		}
		this.#offset += 1;
		sql.exec("INSERT INTO history VALUES (?, ?, ?, ?)", this.#offset, Date.now(), "public.employees", frame);
	}
}

export default {
	fetch(request, env) {
		const { pathname, searchParams } = new URL(request.url);
		if (pathname === "/health") return Response.json({ status: "ok" });
		return env.BARE.getByName(searchParams.get("organizationId")).fetch(request);
	},
};
