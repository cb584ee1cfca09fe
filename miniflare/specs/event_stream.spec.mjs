/**
 * Event streams: what a WebSocket would deliver, over HTTP, even after a disconnect, a hibernation and a crash of the
 * object.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventSource } from "../event_source.mjs";
import { ACCESS_TOKEN, insert, join, message, now, publish, start, stats, subscribe, ticketFor, tokenOf, unread } from "../fixture.mjs";

const server = await start(
	{
		limits: { connectionsPerUser: 6 },
		tables: { people: { masking: { ssn: { type: "ssn", show: { roles: ["hr"] } } } } },
	},
	{ vars: { ALLOWED_ORIGINS: "https://app.example.com" } },
);
after(() => server.dispose());

const path = (parameters) => `${server.url}/realtime/v1/events?${new URLSearchParams(parameters)}`;
const bearer = (token) => ({ authorization: `Bearer ${token}` });

/** A stream of a user, with its `welcome` and the key for sending. */
async function open(organizationId, user, { roles, claims, subscriptions, ...parameters } = {}) {
	const asked = subscriptions && { subscriptions: JSON.stringify(subscriptions) };
	const headers = bearer(tokenOf(user, roles, { organizationId, ...claims }));
	const source = eventSource(path({ organizationId, ...asked, ...parameters }), { headers });
	source.key = (await source.next(({ type }) => type === "stream")).data.key;
	source.welcome = await source.frame("auth_success");
	return source;
}

/** Sends a frame on a stream. */
function send(source, frame, { key = source.key, headers } = {}) {
	const body = typeof frame === "string" ? frame : JSON.stringify(frame);
	return fetch(path({}), { method: "POST", headers: { ...bearer(key), "content-type": "application/json", ...headers }, body });
}

test("a plain EventSource with a ticket gets what a WebSocket gets, byte for byte of its data", async () => {
	const organizationId = "org_same";
	const socket = await join(server, "ada", ["member"], { organizationId, recover: true });
	const ticket = await ticketFor(server, tokenOf("ada", ["member"], { organizationId }), { organizationId });
	const source = eventSource(path({ ws_ticket: ticket }));
	const welcome = await source.frame("auth_success");
	assert.deepEqual(welcome, { ...socket.welcome, offset: 0 });
	const { headers } = await source.response(1);
	assert.equal(headers.get("content-type"), "text/event-stream");
	assert.equal(headers.get("cache-control"), "no-store, no-transform");
	await publish(server, { organizationId, ...insert("people", { id: 1, ssn: "123-45-6789" }) });
	await publish(server, { organizationId, ...message({ a: "x\n\ny" }) });
	const change = await source.frame("postgres_changes");
	assert.equal(change.new.ssn, "*****6789");
	assert.deepEqual([change, await source.frame("broadcast")], await unread(socket));
	assert.equal(source.lastEventId, `${welcome.epoch}:2`);
	// A ticket is valid for one use: the browser's automatic reconnect is refused, and its page reconnects with another
	// one.
	source.cut();
	assert.equal((await source.response(2)).status, 401);
	const again = await ticketFor(server, tokenOf("ada", ["member"], { organizationId }), { organizationId });
	const missed = await publish(server, { organizationId, ...message("missed") });
	const second = eventSource(path({ ws_ticket: again, lastEventId: source.lastEventId }));
	assert.equal((await second.frame("auth_success")).recovered, true);
	assert.equal((await second.frame("broadcast")).offset, missed.offset);
	await Promise.all([second.close(), socket.close()]);
});

test("a stream that drops comes back with the id of its last event, and misses and repeats nothing", async () => {
	const organizationId = "org_drop";
	const source = await open(organizationId, "ada", { subscriptions: [{ id: "s", table: "people", filter: "id=lt.100" }] });
	assert.equal((await source.frame("subscribed")).id, "s");
	await publish(server, { organizationId, ...insert("people", { id: 1 }) });
	await source.frame("postgres_changes");
	const seen = [];
	for (let round = 0; round < 3; round += 1) {
		source.cut();
		await publish(server, { organizationId, messages: [2, 3, 200].map((id) => insert("people", { id: id + 10 * round })) });
		const welcome = await source.frame("auth_success");
		assert.equal(welcome.recovered, true);
		// The row that the filter excludes is sent neither live nor in the replay.
		for (const id of [2, 3]) seen.push((await source.frame("postgres_changes")).new.id === id + 10 * round);
	}
	await publish(server, { organizationId, ...insert("people", { id: 99 }) });
	const last = await source.frame("postgres_changes");
	assert.equal(last.new.id, 99);
	assert.deepEqual(seen, Array(6).fill(true));
	await source.close();
});

test("the object sleeps under an open stream, and an object that crashed ends it, to be resumed", async () => {
	const organizationId = "org_sleep";
	const source = await open(organizationId, "ada");
	await server.evict(organizationId, "hibernate");
	await publish(server, { organizationId, ...message("after the sleep") });
	assert.equal((await source.frame("broadcast")).payload, "after the sleep");
	assert.equal(source.responses.length, 1, "the stream went on");
	await server.evict(organizationId, "close");
	const end = await source.next(({ type }) => type === "end");
	assert.deepEqual(end.data, { code: 1006, reason: "" });
	await publish(server, { organizationId, ...message("while it was away") });
	assert.equal((await source.frame("auth_success")).recovered, true);
	assert.equal((await source.frame("broadcast")).payload, "while it was away");
	await source.close();
});

test("what is too far back is said to be lost", async () => {
	const organizationId = "org_gap";
	const source = await open(organizationId, "ada", { lastEventId: "another-epoch:7" });
	assert.equal(source.welcome.recovered, false);
	assert.equal(source.lastEventId, `${source.welcome.epoch}:${source.welcome.offset}`, "and the stream goes on from there");
	await source.close();
});

test("a client sends frames in requests, and is told on its stream what came of them", async () => {
	const organizationId = "org_send";
	const source = await open(organizationId, "ada", { subscriptions: [] });
	const socket = await join(server, "bob", ["member"], { organizationId });
	await subscribe(socket, "s", { topic: "room:1", presence: true });
	await unread(socket);
	const answer = await send(source, { type: "subscribe", id: "s", topic: "room:1" });
	assert.deepEqual([answer.status, await answer.json()], [202, {}]);
	assert.equal((await source.frame("subscribed")).id, "s");
	await send(source, { type: "broadcast", topic: "room:1", event: "hello", payload: 1, id: "c1" });
	assert.equal((await source.frame("broadcast")).payload, 1);
	assert.equal((await source.frame("ack")).id, "c1");
	assert.equal((await socket.next()).payload, 1);
	await send(source, { type: "presence_track", topic: "room:1", metadata: { is: "there" } });
	assert.deepEqual((await socket.next()).metadata, { is: "there" });
	await source.frame("presence_join");
	await send(source, { type: "subscribe", id: "n", topic: "elsewhere" });
	assert.equal((await source.frame("error")).code, "forbidden");
	await send(source, "no JSON");
	assert.equal((await source.frame("error")).code, "invalid_frame");
	// A client that stops reading is disconnected, for everyone.
	await source.close();
	assert.equal((await socket.next()).type, "presence_leave");
	const late = await send(source, { type: "ping" });
	assert.deepEqual([late.status, (await late.json()).error.code], [404, "not_found"]);
	await socket.close();
});

test("a token is renewed on a stream that stands, and one that is not ends it", async () => {
	const organizationId = "org_token";
	const [one, other] = await Promise.all(["ada", "bob"].map((user) => open(organizationId, user, { claims: { exp: now() - 28 } })));
	await Promise.all([one.frame("auth_expired"), other.frame("auth_expired")]);
	const token = tokenOf("ada", ["member"], { organizationId });
	await send(one, { type: "auth", token });
	assert.equal((await one.frame("auth_success")).userId, "ada");
	const wrong = await send(one, { type: "auth", token: tokenOf("eve", ["member"], { organizationId }) });
	assert.equal(wrong.status, 202);
	assert.equal((await one.frame("error")).code, "wrong_user");
	const end = await other.next(({ type }) => type === "end", 60_000);
	assert.deepEqual(end.data, { code: 1008, reason: "token_expired" });
	assert.equal((await other.response(2)).status, 401, "the same token opens nothing");
	await one.close();
});

test("a stream is a connection: it is counted, and limited by what limits connections", async () => {
	const organizationId = "org_limit";
	const socket = await join(server, "ada", ["member"], { organizationId });
	const streams = await Promise.all(Array.from({ length: 5 }, () => open(organizationId, "ada")));
	const figures = await stats(server, organizationId);
	assert.deepEqual([figures.connections, figures.byDialect], [6, { "event-stream": 5, quickback: 1 }]);
	const headers = bearer(tokenOf("ada", ["member"], { organizationId }));
	const seventh = eventSource(path({ organizationId }), { headers, returns: false });
	assert.equal((await seventh.frame("auth_error")).code, "connection_limit");
	assert.deepEqual((await seventh.next(({ type }) => type === "end")).data, { code: 1013, reason: "connection_limit" });
	assert.ok(seventh.retry >= 15_000, "not at once");
	await Promise.all([socket, ...streams].map((client) => client.close()));
});

test("who does not read is cut off, and costs the Worker a bounded backlog", { timeout: 120_000 }, async () => {
	const organizationId = "org_slow";
	const asking = request(path({ organizationId }), { headers: bearer(tokenOf("ada", ["member"], { organizationId })) });
	asking.end();
	const [response] = await once(asking, "response");
	response.pause();
	const watching = await open(organizationId, "bob");
	const big = "x".repeat(500_000);
	// The buffers between the two ends hold some megabytes before anything waits.
	for (let count = 0; count < 200 && (await stats(server, organizationId)).connections > 1; count += 1) {
		await publish(server, { organizationId, ...message(big, { userId: "ada" }) });
	}
	await publish(server, { organizationId, ...message("all is well") });
	assert.equal((await watching.frame("broadcast")).payload, "all is well");
	assert.equal((await stats(server, organizationId)).connections, 1);
	response.setEncoding("utf8");
	let text = "";
	for await (const chunk of response) text = (text + chunk).slice(-1_000);
	assert.match(text, /event: end\ndata: \{"code":1013,"reason":"too_slow"\}\n\n$/);
	await watching.close();
});

test("a client that disconnects while its stream is being opened does not stay connected", { timeout: 60_000 }, async () => {
	const organizationId = "org_left";
	for (let quarters = 0; quarters < 40; quarters += 1) {
		const opening = new AbortController();
		const asked = fetch(path({ organizationId }), { headers: bearer(tokenOf(`user${quarters}`, ["member"], { organizationId })), signal: opening.signal });
		setTimeout(() => opening.abort(), quarters / 4);
		await assert.rejects(asked.then((response) => response.text()), { name: "AbortError" });
	}
	// workerd reports it to nobody, but nothing reads the keep-alive of the stream.
	while ((await stats(server, organizationId)).connections > 0) await sleep(500);
});

test("what is malformed, of nobody, or of another page opens nothing", async () => {
	const organizationId = "org_1";
	const headers = bearer(tokenOf("ada"));
	const cases = [
		[{ organizationId }, {}, 401, "unauthorized", undefined],
		[{ organizationId }, bearer("nonsense"), 401, "invalid_token", undefined],
		[{ organizationId }, bearer(ACCESS_TOKEN), 401, "invalid_token", undefined],
		[{ organizationId: "org_2" }, headers, 403, "wrong_organization", undefined],
		[{}, headers, 400, "invalid_request", "organizationId"],
		[{ organizationId: "a/b" }, headers, 400, "invalid_request", "organizationId"],
		[{ organizationId, ws_ticket: "a.b" }, {}, 401, "invalid_token", undefined],
		[{ organizationId, lastEventId: "7" }, headers, 400, "invalid_request", "Last-Event-ID"],
		[{ organizationId }, { ...headers, "last-event-id": "e:x" }, 400, "invalid_request", "Last-Event-ID"],
		[{ organizationId, subscriptions: "people" }, headers, 400, "invalid_request", "subscriptions"],
		[{ organizationId, subscriptions: "{}" }, headers, 400, "invalid_request", "subscriptions"],
		[{ organizationId, subscriptions: '[{"id":"s"}]' }, headers, 400, "invalid_frame", undefined],
		[{ organizationId, subscriptions: '[{"id":"s","table":"t","filter":"x"}]' }, headers, 400, "invalid_filter", "subscriptions[0].filter"],
		[{ organizationId, subscriptions: '[{"id":"s","table":"t","tpoic":"x"}]' }, headers, 400, "invalid_frame", "subscriptions[0].tpoic"],
		[{ organizationId }, { ...headers, origin: "https://evil.example.com" }, 403, "origin_not_allowed", undefined],
	];
	for (const [parameters, sent, status, code, field] of cases) {
		const response = await fetch(path(parameters), { headers: sent });
		const { error } = await response.json();
		assert.deepEqual([response.status, error.code, error.field], [status, code, field], JSON.stringify([parameters, sent]));
	}
	for (const key of ["", "nonsense", "a.b", tokenOf("ada"), ACCESS_TOKEN]) {
		const response = await fetch(path({}), { method: "POST", headers: bearer(key), body: "{}" });
		assert.equal(response.status, 401, key);
	}
	const other = await fetch(path({}), { method: "PUT", headers });
	assert.deepEqual([other.status, other.headers.get("allow")], [405, "GET, POST, OPTIONS"]);
});

test("pages of allowed origins may open streams and send on them, and no others", async () => {
	for (const [origin, allowed] of [["https://app.example.com", "https://app.example.com"], ["https://evil.example.com", null]]) {
		const preflight = await fetch(path({}), { method: "OPTIONS", headers: { origin, "access-control-request-headers": "authorization" } });
		assert.deepEqual([preflight.status, preflight.headers.get("access-control-allow-origin")], [204, allowed]);
		assert.match(preflight.headers.get("access-control-allow-headers"), /authorization, content-type, last-event-id/);
	}
	const headers = { ...bearer(tokenOf("ada")), origin: "https://app.example.com" };
	const source = eventSource(path({ organizationId: "org_1" }), { headers });
	assert.equal((await source.response(1)).headers.get("access-control-allow-origin"), "https://app.example.com");
	await source.close();
	const refused = await fetch(path({ organizationId: "org_1" }), { headers: { ...headers, authorization: "Bearer x" } });
	assert.equal(refused.headers.get("access-control-allow-origin"), "https://app.example.com", "a page can read why");
});
