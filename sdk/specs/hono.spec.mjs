/**
 * Hono's middleware with the built Worker, a real D1 and the SDK's client.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Hono } from "hono";
import { createClient } from "realtime-worker/client";
import { realtime } from "realtime-worker/hono";
import { connect } from "../../miniflare/client.mjs";
import { JWT_SECRET, join, socketUrl, unread } from "../../miniflare/fixture.mjs";
import { claims, tables } from "./d1-schema.mjs";
import { startD1 } from "./d1-rig.mjs";

const { server, db, orm, env } = await startD1();
after(() => server.dispose());

const bindings = { ...env, JWT_SECRET, DB: db };
const viewerOf = (context) => {
	const user = context.req.header("x-user");
	return user ? { userId: user, organizationId: "org_1", roles: user === "ada" ? ["admin"] : ["member"] } : null;
};
const asked = [];
const app = new Hono()
	.use(
		realtime({
			tables,
			viewer: (context) => asked.push(context.req.path) && viewerOf(context),
			outbox: (publisher, context) => publisher.outbox(context.env.DB),
		}),
	)
	.get("/claims", async (context) => context.json(await context.var.view("claims", await orm.select().from(claims))))
	.post("/claims", async (context) => {
		await orm.insert(claims).values(await context.req.json());
		return context.body(null, 204);
	})
	.get("/health", (context) => context.text("ok"));

const ask = (path, user, init = {}, env = bindings) => app.request(path, { ...init, headers: user ? { "x-user": user } : {} }, env);
const ssn = "123-45-6789";
const write = (id, env) => ask("/claims", "mel", { method: "POST", body: JSON.stringify({ id, orgId: "org_1", ssn }) }, env);

test("what is written is published after the request; what is read is what the stream shows", async () => {
	const [ada, mel] = await Promise.all([["ada", ["admin"]], ["mel", ["member"]]].map(([user, roles]) => join(server, user, roles)));
	await write("h1");
	const streamed = async (client) => (await unread(client)).map((frame) => frame.new);
	for (const [client, user, seen] of [[ada, "ada", ssn], [mel, "mel", "*****6789"]]) {
		const rows = await streamed(client);
		assert.deepEqual(rows.map((row) => row.ssn), [seen]);
		assert.deepEqual(await (await ask("/claims", user)).json(), rows);
	}
	assert.deepEqual(await (await ask("/claims")).json(), []);
	await Promise.all([ada.close(), mel.close()]);
});

test("a token lets the client in; nobody gets none, and none is kept by caches", async () => {
	const response = await ask("/realtime/token", "mel", { method: "POST" });
	assert.equal(response.headers.get("cache-control"), "no-store");
	const client = createClient(server.url, { organizationId: "org_1", getToken: async () => (await ask("/realtime/token", "mel", { method: "POST" })).text() });
	await client.on("claims", "*", () => {}).ready;
	assert.deepEqual([client.identity.userId, client.identity.roles], ["mel", ["member"]]);
	client.close();
	assert.equal((await ask("/realtime/token", undefined, { method: "POST" })).status, 401);
	assert.equal((await ask("/realtime/ticket", undefined, { method: "POST" })).status, 401);
	assert.equal((await ask("/realtime/token", "mel")).status, 404);
});

test("a ticket opens one connection, with and without a binding", async () => {
	const bound = { ...bindings, REALTIME: { fetch: (url, init) => fetch(url.replace("https://realtime", server.url), init) } };
	for (const env of [bindings, bound]) {
		const { wsTicket } = await (await ask("/realtime/ticket", "mel", { method: "POST" }, env)).json();
		const client = await connect(socketUrl(server, { ws_ticket: wsTicket, organizationId: "org_1" }));
		assert.equal((await client.next()).userId, "mel");
		await client.close();
	}
});

test("who is asking is asked once, and only where it matters", async () => {
	asked.length = 0;
	await ask("/health", "mel");
	await write("h2");
	assert.deepEqual(asked, ["/claims"]);
});

test("a flush that fails is told, and fails no request", async (context) => {
	const told = context.mock.method(console, "error", () => {});
	const { status } = await write("h3", { ...bindings, REALTIME_URL: "http://127.0.0.1:1" });
	assert.equal(status, 204);
	assert.match(told.mock.calls[0].arguments[0], /waits for its next flush: RealtimeError/);
	const client = await join(server, "mel", ["member"]);
	const waited = [];
	const execution = { waitUntil: (work) => waited.push(work), passThroughOnException() {} };
	await app.request("/claims", { method: "POST", headers: { "x-user": "mel" }, body: '{ "id": "h4", "orgId": "org_1" }' }, bindings, execution);
	await Promise.all(waited);
	assert.equal(waited.length, 1);
	assert.deepEqual((await unread(client)).map((frame) => frame.new.id), ["h3", "h4"]);
	await client.close();
});
