/**
 * Supabase's clients: connecting, joining and leaving, heartbeats, and the organization of a connection.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { WebSocket } from "ws";
import { connect } from "../client.mjs";
import { JWT_SECRET, now, tokenOf } from "../fixture.mjs";
import { anonKey, CLIENTS, startSupabase, Tenant } from "../supabase.mjs";
import { behaviour } from "../supabase_matrix.mjs";
import { signToken } from "../token.mjs";

const server = await startSupabase({}, { vars: { DEFAULT_ORGANIZATION: "org_main" } });
after(() => server.dispose());
const hosted = await startSupabase({}, { vars: { DEFAULT_ORGANIZATION: "org_main", ORGANIZATION_DOMAIN: "realtime.example" } });
after(() => hosted.dispose());

const isReply = (event) => (frame) => frame.event === "phx_reply" && frame.ref !== undefined && event.includes(frame.ref);
/** The references of the pushes of one kind that a socket has sent. */
const refs = (socket, event) => socket.sent.items.filter((frame) => frame.event === event).map(({ ref }) => ref);

behaviour(server, "connect, join, leave", async (tenant) => {
	const ada = tenant.person("ada");
	const room = await ada.room("lobby").join();
	await tenant.say("lobby", "hello", { n: 1 });
	assert.deepEqual(await room.heard(), ["hello", { n: 1 }]);
	assert.equal(await room.leave(), "ok");
	const { payload } = await ada.socket.received.find(isReply(refs(ada.socket, "phx_leave")));
	assert.deepEqual(payload, { status: "ok", response: {} });
	await tenant.say("lobby", "nobody", {});
	assert.deepEqual(await room.unread(), []);
});

behaviour(server, "join with the anon key alone", async (tenant) => {
	const someone = tenant.person("nobody", { roles: null });
	const room = await someone.room("lobby").join();
	await tenant.say("lobby", "hello", {});
	assert.deepEqual(await room.heard(), ["hello", {}]);
});

behaviour(server, "leave and join again on one socket, each event once", async (tenant) => {
	const ada = tenant.person("ada");
	// A channel that stays, because the old clients close the socket after the last one.
	const [other, first] = [await ada.room("other").join(), await ada.room("lobby").join()];
	assert.equal(await first.leave(), "ok");
	const second = await ada.room("lobby").join();
	await tenant.say("lobby", "hello", { n: 1 });
	assert.deepEqual((await second.unread()).map(({ payload }) => payload.payload), [{ n: 1 }]);
	assert.deepEqual([await first.unread(), await other.unread()], [[], []]);
	assert.equal(ada.sockets.length, 1);
});

behaviour(server, "several channels on one socket", async (tenant) => {
	const ada = tenant.person("ada");
	const rooms = [];
	for (const name of ["a", "b", "c:d"]) rooms.push(await ada.room(name).join());
	for (const name of ["c:d", "a", "nowhere"]) await tenant.say(name, "hello", { name });
	const heard = await Promise.all(rooms.map((room) => room.unread()));
	assert.deepEqual(heard.map((events) => events.map(({ payload }) => payload.payload.name)), [["a"], [], ["c:d"]]);
	assert.equal(ada.sockets.length, 1);
});

behaviour(server, "heartbeat", async (tenant) => {
	const ada = tenant.person("ada");
	await ada.room("lobby").join();
	for (let beat = 1; beat <= 3; beat += 1) {
		await ada.heartbeat();
		const sent = refs(ada.socket, "heartbeat");
		assert.equal(sent.length, beat);
		const { topic, payload } = await ada.socket.received.find(isReply(sent.slice(-1)));
		assert.deepEqual([topic, payload], ["phoenix", { status: "ok", response: {} }]);
		await ada.sync();
		assert.equal(ada.realtime.pendingHeartbeatRef ?? null, null);
	}
	assert.equal(ada.sockets.length, 1);
});

behaviour(server, "remove all channels", async (tenant) => {
	const ada = tenant.person("ada");
	for (const name of ["a", "b"]) await ada.room(name).join();
	assert.deepEqual(await ada.client.removeAllChannels(), ["ok", "ok"]);
	await ada.socket.closed;
	assert.deepEqual(ada.realtime.getChannels(), []);
	assert.equal(ada.sockets.length, 1);
});

behaviour(server, "a malformed key is refused", async (tenant) => {
	const mallory = tenant.person("mallory", { key: `nonsense-${tenant.organizationId}`, roles: null });
	const { status } = await mallory.room("lobby").subscribe();
	assert.equal(status, "CHANNEL_ERROR");
	assert.equal((await tenant.stats()).connections, 0);
});

/** Opens a socket by hand and joins a channel; returns the client. */
async function joinByHand({ key, token, headers, topic = "realtime:lobby", query = "&vsn=2.0.0" }) {
	const client = await connect(`${server.url}/realtime/v1/websocket?apikey=${key}${query}`, { headers });
	const payload = { config: {}, ...(token && { access_token: token }) };
	client.send(query.includes("2.0.0") ? ["1", "1", topic, "phx_join", payload] : { topic, event: "phx_join", payload, ref: "1" });
	return client;
}

const reply = (client) => client.next((frame) => (Array.isArray(frame) ? frame[3] : frame.event) === "phx_reply");

test("the apikey's claim names the organization", async () => {
	const tenant = new Tenant(server);
	const client = await joinByHand({ key: anonKey(tenant.organizationId) });
	assert.equal((await reply(client))[4].status, "ok");
	assert.equal((await tenant.stats()).connections, 1);
	await client.close();
});

test("a key that names none is of the default organization, and so are users' tokens there", async () => {
	const key = signToken({ role: "anon", exp: now() + 60 }, JWT_SECRET);
	const token = tokenOf("ada", undefined, { organizationId: undefined, role: "member" });
	const main = new Tenant(server);
	main.organizationId = "org_main";
	const client = await joinByHand({ key, token });
	assert.equal((await reply(client))[4].status, "ok");
	assert.equal((await main.stats()).connections, 1);
	await client.close();
	// In another organization, such a token says nothing about its user.
	const elsewhere = await joinByHand({ key: anonKey("org_elsewhere"), token });
	assert.equal((await reply(elsewhere))[4].status, "error");
	await elsewhere.close();
});

/** Someone whose client reaches the server under another host name. */
function at(host, tenant, client, options) {
	const transport = class extends WebSocket {
		constructor(url, _protocols, more) {
			super(url, { ...more, headers: { host } });
			// The client has a separate event for it.
			this.on("error", () => {});
		}
	};
	return tenant.person("ada", { client, ...options, realtime: { transport } });
}

// The older clients never construct a given transport.
for (const client of CLIENTS.filter(({ name }) => name.includes("2.119.0"))) {
	const keyOf = (claims) => signToken({ role: "anon", exp: now() + 60, jti: client.name, ...claims }, JWT_SECRET);

	test(`${client.name}: the organization is that of the host, the key's, or the default one`, async () => {
		const several = { organizations: { "org-a": "anon", "org-b": "anon" } };
		for (const [host, claims, organizationId] of [
			["org-b.elsewhere.example", several, "org-b"],
			["org-a.realtime.example", several, "org-a"],
			["www.elsewhere.example", { ref: "org-c" }, "org-c"],
			["www.elsewhere.example", {}, "org_main"],
		]) {
			const tenant = new Tenant(hosted);
			tenant.organizationId = organizationId;
			const room = await at(host, tenant, client, { key: keyOf(claims), roles: null }).room(client.name).join();
			await tenant.say(client.name, "hello", { host });
			assert.deepEqual(await room.heard(), ["hello", { host }]);
			await tenant.close();
		}
	});

	test(`${client.name}: at an organization's host nobody is let in with what is another's`, async () => {
		const tenant = new Tenant(hosted);
		tenant.organizationId = `org-${CLIENTS.indexOf(client)}`;
		const host = `${tenant.organizationId}.realtime.example`;
		for (const claims of [{ ref: "org-c" }, {}]) {
			const mallory = at(host, tenant, client, { key: keyOf(claims), roles: null });
			assert.equal((await mallory.room("lobby").subscribe()).status, "CHANNEL_ERROR");
		}
		assert.equal((await tenant.stats()).connections, 0);
		const good = { key: keyOf({ ref: tenant.organizationId }), claims: { organizationId: "org-c" } };
		const { status, error } = await at(host, tenant, client, good).room("lobby").subscribe();
		assert.equal(status, "CHANNEL_ERROR");
		assert.match(error.message, /JwtSignatureError: Failed to validate JWT signature/);
		await tenant.close();
	});
}

test("a token of another organization is refused", async () => {
	const client = await joinByHand({ key: anonKey("org_one"), token: tokenOf("ada", undefined, { organizationId: "org_two" }) });
	assert.equal((await reply(client))[4].status, "error");
	await client.close();
});

test("the protocol is 1.0.0 unless vsn says otherwise, and unknown ones are refused", async () => {
	const key = anonKey("org_vsn");
	for (const query of ["", "&vsn=1.0.0", "&vsn=1.0.7"]) {
		const client = await joinByHand({ key, query });
		const { topic, ref, payload, ...rest } = await reply(client);
		assert.deepEqual([topic, ref, payload.status, rest], ["realtime:lobby", "1", "ok", { event: "phx_reply" }]);
		await client.close();
	}
	for (const vsn of ["3.0.0", "1.1.0", "two"]) {
		await assert.rejects(joinByHand({ key, query: `&vsn=${vsn}` }), { status: 403 });
	}
});

test("an upgrade without a good key is refused with the documented words", async () => {
	const expired = signToken({ role: "anon", ref: "org_1", exp: now() - 3_600 }, JWT_SECRET);
	const roleless = signToken({ ref: "org_1", exp: now() + 60 }, JWT_SECRET);
	const endless = signToken({ role: "anon", ref: "org_1" }, JWT_SECRET);
	const foreign = signToken({ role: "anon", ref: "org_1", exp: now() + 60 }, "another-secret-0123456789-0123456789");
	for (const [key, words] of [
		["", "API key is missing"],
		[expired, "Token has expired"],
		[roleless, "Fields `role` and `exp` are required in JWT"],
		[endless, "Fields `role` and `exp` are required in JWT"],
		["nonsense", "The token provided is not a valid JWT"],
		[foreign, "Failed to validate JWT signature"],
	]) {
		const refusal = await joinByHand({ key }).then(() => assert.fail("opened"), (error) => error);
		const { error, code } = JSON.parse(refusal.body);
		assert.deepEqual([refusal.status, error, typeof code], [401, words, "string"]);
	}
});

test("what the protocol lets clients get wrong is let be", async () => {
	const client = await joinByHand({ key: anonKey("org_lenient") });
	assert.equal((await reply(client))[4].status, "ok");
	const answer = async (frame) => {
		client.send(frame);
		return client.next(([, ref]) => ref === frame[1]);
	};
	const lobby = "realtime:lobby";
	assert.deepEqual((await answer([null, "2", "realtime:other", "phx_leave", {}]))[4], { status: "ok", response: {} });
	assert.deepEqual((await answer([null, "3", "realtime:other", "broadcast", {}]))[4], {
		status: "error",
		response: { reason: "unmatched topic" },
	});
	client.send([null, "4", lobby, "no_such_event", {}]);
	client.send("no JSON");
	// A push with a stale reference to its join, then a second join, which closes the first.
	assert.equal((await answer(["0", "5", lobby, "presence", { type: "presence", event: "track", payload: {} }]))[4].status, "ok");
	client.send(["6", "6", lobby, "phx_join", { config: {}, version: "unknown keys are let be" }]);
	const closed = await client.next(([, , , event]) => event === "phx_close");
	assert.deepEqual(closed.slice(0, 4), ["1", "1", lobby, "phx_close"]);
	assert.equal((await reply(client))[1], "6");
	const empty = await answer(["7", "7", "realtime:", "phx_join", { config: {} }]);
	assert.deepEqual(empty[4].response, { reason: "TopicNameRequired: You must provide a topic name" });
	await client.close();
});
