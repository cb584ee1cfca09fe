/**
 * What the Worker is measured against: the least that a Durable Object with hibernating sockets can do. It knows nobody,
 * sends what it is given to everyone, and keeps it only where it is asked to, as one row of a table with one index. Where
 * it is asked to, it also knows its sockets by an id, and has something attached to each; or it verifies a socket's token first,
 * greets it and logs that, as the Worker does.
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
			if (searchParams.has("greet")) greet(server, request.headers.get("x-user"));
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

function greet(socket, user) {
	const id = crypto.randomUUID();
	socket.send(JSON.stringify({ type: "auth_success", clientId: id, userId: user, timestamp: new Date().toISOString() }));
	console.log(JSON.stringify({ event: "connected", connection: id, user }));
}

let key;

/** The user of an HS256 token that is valid now. */
async function userOf(token, secret) {
	const [head, body, signature] = token.split(".");
	const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
	const encoded = (text) => new TextEncoder().encode(text);
	key ??= await crypto.subtle.importKey("raw", encoded(secret), { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
	const isSigned = await crypto.subtle.verify("HMAC", key, bytes(signature), encoded(`${head}.${body}`));
	const { sub, exp } = JSON.parse(new TextDecoder().decode(bytes(body)));
	if (!isSigned || JSON.parse(atob(head)).alg !== "HS256" || exp * 1_000 < Date.now()) throw new Error("not a valid token");
	return sub;
}

export default {
	async fetch(request, env) {
		const { pathname, searchParams } = new URL(request.url);
		if (pathname === "/health") return Response.json({ status: "ok" });
		if (searchParams.has("greet")) {
			const user = await userOf(request.headers.get("authorization").slice("Bearer ".length), env.JWT_SECRET);
			request = new Request(request, { headers: [...request.headers, ["x-user", user]] });
		}
		return env.BARE.getByName(searchParams.get("organizationId")).fetch(request);
	},
};
