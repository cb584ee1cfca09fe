/**
 * `ws` and socket.io on Node with the Worker's rules: a token is verified at the handshake, and what is published is masked
 * once per role, as both make easy: `ws` with a frame for each, socket.io with a room for each.
 *
 *   node node.mjs ws | socket.io
 */
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { Server as SocketServer } from "socket.io";
import { WebSocketServer } from "ws";
import { masked } from "./mask.mjs";
import { verified } from "./verify.mjs";

const ROLES = ["admin", "hr", "member"];
const SECRET = process.env.JWT_SECRET;
/** A day: a heartbeat would be counted as a frame. */
const NEVER = 86_400_000;

const claimsOf = (request) => verified(request.headers.authorization, SECRET);
const organizationOf = (url) => new URL(url, "http://localhost").searchParams.get("organizationId");

const KINDS = {
	ws(http) {
		const organizations = new Map();
		const server = new WebSocketServer({ noServer: true, perMessageDeflate: false });
		http.on("upgrade", async (request, socket, head) => {
			const claims = await claimsOf(request);
			if (!claims) return socket.destroy();
			server.handleUpgrade(request, socket, head, (client) => {
				const sockets = organizations.get(claims.organizationId) ?? new Set();
				organizations.set(claims.organizationId, sockets.add(client));
				client.role = claims.role;
				client.on("close", () => sockets.delete(client));
				client.send('{"type":"auth_success"}');
			});
		});
		return (organizationId, event) => {
			const frames = Object.fromEntries(ROLES.map((role) => [role, JSON.stringify(masked(event, role))]));
			const sockets = organizations.get(organizationId) ?? new Set();
			for (const client of sockets) client.send(frames[client.role]);
			return sockets.size;
		};
	},
	"socket.io"(http) {
		const server = new SocketServer(http, { transports: ["websocket"], pingInterval: NEVER, perMessageDeflate: false });
		server.use(async (socket, next) => {
			socket.data = await claimsOf(socket.request);
			next(socket.data ? undefined : new Error("unauthorized"));
		});
		server.on("connection", (socket) => socket.join(`${socket.data.organizationId}:${socket.data.role}`));
		return (organizationId, event) => {
			const rooms = ROLES.map((role) => `${organizationId}:${role}`);
			for (const [index, role] of ROLES.entries()) server.to(rooms[index]).emit("change", masked(event, role));
			return rooms.reduce((sum, room) => sum + (server.sockets.adapter.rooms.get(room)?.size ?? 0), 0);
		};
	},
};

const http = createServer(async (request, response) => {
	if (request.method !== "POST") return response.end();
	const delivered = publish(organizationOf(request.url), JSON.parse(await text(request)));
	response.writeHead(202, { "content-type": "application/json" }).end(JSON.stringify({ delivered }));
});
const publish = KINDS[process.argv[2]](http);
http.listen(0, "127.0.0.1", () => process.send(http.address().port));
