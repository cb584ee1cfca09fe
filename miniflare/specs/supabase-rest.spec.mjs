/**
 * Supabase's clients: broadcasts over HTTP.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { tokenOf } from "../fixture.mjs";
import { anonKey, OLD, RECENT, startSupabase, Tenant } from "../supabase.mjs";
import { behaviour } from "../supabase_matrix.mjs";

const server = await startSupabase();
after(() => server.dispose());

const secret = { private: true };

/** Subscribers of both protocols in one room. */
async function listeners(tenant, topic, config) {
	const rooms = [OLD, RECENT].map((client) => tenant.person("listener", { client }).room(topic, { config }));
	for (const room of rooms) await room.join();
	return rooms;
}

behaviour(server, "send() before joining uses HTTP", async (tenant) => {
	const rooms = await listeners(tenant, "lobby:é");
	const ann = tenant.person("ann");
	await ann.ready;
	assert.equal(await ann.room("lobby:é").send("hello", { x: [1] }), "ok");
	for (const room of rooms) assert.deepEqual(await room.heard(), ["hello", { x: [1] }]);
	assert.equal(ann.sockets.length, 0);
});

behaviour(server, "send() before joining, to a private channel, with the right to write", async (tenant) => {
	const rooms = await listeners(tenant, "room:1", secret);
	const [member, guest] = [tenant.person("mel"), tenant.person("gus", { roles: ["guest"] })];
	await Promise.all([member.ready, guest.ready]);
	assert.equal(await guest.room("room:1", { config: secret }).send("theirs", {}), "ok");
	assert.equal(await member.room("room:1", { config: secret }).send("mine", {}), "ok");
	for (const room of rooms) assert.deepEqual((await room.unread()).map(({ payload }) => payload.event), ["mine"]);
});

behaviour(
	server,
	"httpSend()",
	async (tenant) => {
		const [open, closed] = [await listeners(tenant, "lobby/é"), await listeners(tenant, "room:1", secret)];
		const ann = tenant.person("ann");
		await ann.ready;
		assert.deepEqual(await ann.room("lobby/é").channel.httpSend("ev/1?é", { x: 1 }), { success: true });
		for (const room of open) assert.deepEqual(await room.heard(), ["ev/1?é", { x: 1 }]);
		assert.deepEqual(await ann.room("room:1", { config: secret }).channel.httpSend("hello", {}), { success: true });
		for (const room of closed) assert.deepEqual(await room.heard(), ["hello", {}]);
	},
	{ lacks: ({ module }) => /realtime-2\.1[015]\./.test(module) },
);

behaviour(
	server,
	"httpSend() of raw bytes",
	async (tenant) => {
		const [old, recent] = await listeners(tenant, "lobby");
		const ann = tenant.person("ann");
		await ann.ready;
		assert.deepEqual(await ann.room("lobby").channel.httpSend("pixels", Uint8Array.of(0, 1, 255)), { success: true });
		const [event, payload] = await recent.heard();
		assert.deepEqual([event, [...new Uint8Array(payload)]], ["pixels", [0, 1, 255]]);
		assert.deepEqual(await old.unread(), []);
	},
	{ lacks: ({ module }) => /realtime-2\.(1[015]|97)\./.test(module) },
);

behaviour(
	server,
	"httpSend() without the right to write is refused",
	async (tenant) => {
		const gus = tenant.person("gus", { roles: ["guest"] });
		await gus.ready;
		await assert.rejects(gus.room("room:1", { config: secret }).channel.httpSend("theirs", {}), /^Error: Unauthorized$/);
	},
	{ lacks: ({ module }) => /realtime-2\.(1[015]|97)\./.test(module) },
);

/** A request to the endpoint of the batch, or of one event. */
function post(path, { key = anonKey("org_rest"), token, type = "application/json", body }) {
	return fetch(`${server.url}/realtime/v1/api/broadcast${path}`, {
		method: "POST",
		headers: { ...(key && { apikey: key }), ...(token && { authorization: `Bearer ${token}` }), "content-type": type },
		body: typeof body === "string" ? body : JSON.stringify(body),
	});
}

const message = { topic: "lobby", event: "e", payload: {}, private: false };

test("the statuses of the documentation", async () => {
	const guest = tokenOf("gus", ["guest"], { organizationId: "org_rest", role: "guest" });
	const single = "/lobby/events/e";
	for (const [status, path, request] of [
		[202, "", { body: { messages: [message] } }],
		[202, "", { body: { messages: [{ ...message, topic: "room:1", private: true }] }, token: guest }],
		[202, single, { body: {} }],
		[202, single, { body: "raw", type: "application/octet-stream" }],
		[401, "", { body: { messages: [message] }, key: "" }],
		[401, "", { body: { messages: [message] }, token: "nonsense" }],
		[401, single, { body: {}, key: "" }],
		[403, "/room%3A1/events/e?private=true", { body: {}, token: guest }],
		[415, single, { body: "<a/>", type: "text/xml" }],
		[422, "", { body: {} }],
		[422, "", { body: { messages: [{ ...message, topic: undefined }] } }],
		[422, "", { body: { messages: [{ ...message, event: undefined }] } }],
		[422, "", { body: { messages: [{ ...message, payload: undefined }] } }],
		[422, "", { body: { messages: [{ ...message, payload: 1 }] } }],
	]) {
		const response = await post(path, request);
		const text = await response.text();
		assert.equal(response.status, status, `${path} ${JSON.stringify(request)}: ${text}`);
		assert.equal(response.headers.get("access-control-allow-origin"), "*");
		if (status === 202) assert.equal(text, "");
		if (status === 401 || status === 403) assert.deepEqual(JSON.parse(text), { message: "Unauthorized" });
		if (status === 422) assert.ok(JSON.parse(text).errors);
	}
});

test("a payload that is no object is wrapped", async () => {
	const tenant = new Tenant(server);
	const room = await tenant.person("ada").room("lobby").join();
	assert.equal((await post("/lobby/events/e", { key: anonKey(tenant.organizationId), body: "[1]" })).status, 202);
	assert.deepEqual(await room.heard(), ["e", { _json: [1] }]);
	await tenant.close();
});

test("a browser's preflight is answered", async () => {
	for (const path of ["", "/lobby/events/e?apikey=x&vsn=2.0.0"]) {
		const response = await fetch(`${server.url}/realtime/v1/api/broadcast${path}`, {
			method: "OPTIONS",
			headers: {
				origin: "https://app.example.com",
				"access-control-request-method": "POST",
				"access-control-request-headers": "apikey,authorization,content-type,x-client-info",
			},
		});
		assert.ok([200, 204].includes(response.status), `${response.status}`);
		assert.equal(response.headers.get("access-control-allow-origin"), "*");
		const allowed = response.headers.get("access-control-allow-headers").toLowerCase();
		for (const name of ["apikey", "authorization", "content-type", "x-client-info"]) assert.ok(allowed.includes(name), allowed);
		assert.match(response.headers.get("access-control-allow-methods"), /POST/);
	}
});
