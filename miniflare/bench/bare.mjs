/**
 * What the Worker is measured against: the least that a Durable Object with hibernating sockets can do. It knows nobody,
 * keeps nothing, and sends what it is given to everyone.
 */
import { DurableObject } from "cloudflare:workers";

export class Bare extends DurableObject {
	async fetch(request) {
		if (request.headers.get("upgrade") === "websocket") {
			const { 0: client, 1: server } = new WebSocketPair();
			this.ctx.acceptWebSocket(server);
			return new Response(null, { status: 101, webSocket: client });
		}
		const isBinary = request.headers.get("content-type") === "application/octet-stream";
		const frame = await (isBinary ? request.arrayBuffer() : request.text());
		const sockets = this.ctx.getWebSockets();
		for (const socket of sockets) socket.send(frame);
		return Response.json({ delivered: sockets.length }, { status: 202 });
	}
}

export default {
	fetch(request, env) {
		const { pathname, searchParams } = new URL(request.url);
		if (pathname === "/health") return Response.json({ status: "ok" });
		return env.BARE.getByName(searchParams.get("organizationId")).fetch(request);
	},
};
