/**
 * Without relays nobody is asked where a socket goes: the organization's object stands behind another that notes each request to it.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { insert, join, publish, start } from "../fixture.mjs";

const ORGANIZATION = "org_1";
/** Passes everything on to the object of that name, and tells at `/noted` what it was asked. */
const NOTER = `
import { DurableObject } from "cloudflare:workers";
export class Noter extends DurableObject {
	#paths = [];
	async fetch(request) {
		const { pathname } = new URL(request.url);
		if (pathname === "/noted") return Response.json(this.#paths);
		this.#paths.push(pathname);
		return this.env.BEHIND.getByName("${ORGANIZATION}").fetch(request);
	}
}
export default { fetch: () => new Response() };`;

/** The paths that opening two sockets and publishing once take at the organization's object. */
async function paths(relays) {
	const behind = { className: "Broadcaster", scriptName: "realtime-worker", useSQLite: true };
	const server = await start({ relays }, {
		worker: {
			durableObjects: {
				BROADCASTER: { className: "Noter", scriptName: "noter" },
				OWN: { className: "Broadcaster", useSQLite: true },
				SOURCE: { className: "Source", useSQLite: true },
				RELAY: { className: "Relay", useSQLite: true },
			},
		},
		workers: [{ name: "noter", modules: true, script: NOTER, compatibilityDate: "2026-07-30", durableObjects: { NOTER: "Noter", BEHIND: behind } }],
	});
	after(() => server.dispose());
	const clients = [await join(server, "ada"), await join(server, "bob")];
	await publish(server, { organizationId: ORGANIZATION, ...insert("notes", { id: 1 }) });
	for (const client of clients) assert.equal((await client.next()).new.id, 1);
	const objects = await server.mf.getDurableObjectNamespace("NOTER", "noter");
	const noted = await (await objects.getByName(ORGANIZATION).fetch("https://object/noted")).json();
	await Promise.all(clients.map((client) => client.close()));
	return noted;
}

test("a Worker without relays asks for no place", async () => {
	assert.deepEqual(await paths(0), ["/open", "/open", "/publish"]);
});

test("one with relays asks once, and remembers the answer", async () => {
	assert.deepEqual(await paths({ sockets: 100, max: 2 }), ["/place", "/open", "/open", "/publish"]);
});
