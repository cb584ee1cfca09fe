/**
 * PartyServer as its users write it: a room per organization that hibernates, a connection's role in its state, and each
 * change masked for each connection.
 */
import { Server, getServerByName } from "partyserver";
import { masked } from "./mask.mjs";
import { verified } from "./verify.mjs";

export class Room extends Server {
	static options = { hibernate: true };

	onConnect(connection, { request }) {
		connection.setState({ role: request.headers.get("x-role") });
		connection.send(JSON.stringify({ type: "auth_success" }));
	}

	async onRequest(request) {
		const event = await request.json();
		let delivered = 0;
		for (const connection of this.getConnections()) {
			connection.send(JSON.stringify(masked(event, connection.state.role)));
			delivered += 1;
		}
		return Response.json({ delivered }, { status: 202 });
	}
}

export default {
	async fetch(request, env) {
		const { pathname, searchParams } = new URL(request.url);
		if (pathname === "/health") return Response.json({ status: "ok" });
		const room = await getServerByName(env.Room, searchParams.get("organizationId"));
		if (request.headers.get("upgrade") !== "websocket") return room.fetch(request);
		const claims = await verified(request.headers.get("authorization"), env.JWT_SECRET);
		if (!claims) return new Response(undefined, { status: 401 });
		const headers = new Headers(request.headers);
		headers.set("x-role", claims.role);
		return room.fetch(new Request(request, { headers }));
	},
};
