/**
 * Supabase's REST, as its clients call it: batches, single messages, bytes, who may publish, and the CORS rules.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { ACCESS_TOKEN, join, start, subscribe, tokenOf, unread } from "../fixture.mjs";

const APP = "https://app.example";
const BROADCAST = "/realtime/v1/api/broadcast";
const server = await start({}, { vars: { DEFAULT_ORGANIZATION: "org_1" } });
after(() => server.dispose());
const guarded = await start({ limits: { workPerUser: 1 } }, { vars: { ALLOWED_ORIGINS: APP } });
after(() => guarded.dispose());

/** A user's token as Supabase issues it, without an organization. */
const session = (role) => tokenOf("u7", undefined, { organizationId: undefined, roles: undefined, role });
const member = session("member");
const guest = session("guest");

/** The request of `send()` before its channel is joined. */
function send(messages, { on = server, key = member, ...headers } = {}) {
	return fetch(`${on.url}${BROADCAST}?apikey=${key}&vsn=2.0.0`, {
		method: "POST",
		headers: { apikey: key, authorization: `Bearer ${key}`, "content-type": "application/json", ...headers },
		body: JSON.stringify({ messages }),
	});
}

/** The request of `httpSend()`; bytes are sent unchanged. */
function httpSend(topic, event, payload, { isPrivate = true, key = member, ...headers } = {}) {
	const bytes = payload instanceof Uint8Array;
	const parameters = new URLSearchParams({ apikey: key, vsn: "2.0.0", ...(isPrivate && { private: "true" }) });
	const place = `${encodeURIComponent(topic)}/events/${encodeURIComponent(event)}`;
	return fetch(`${server.url}${BROADCAST}/${place}?${parameters}`, {
		method: "POST",
		headers: { apikey: key, authorization: `Bearer ${key}`, "content-type": bytes ? "application/octet-stream" : "application/json", ...headers },
		body: bytes ? payload : JSON.stringify(payload),
	});
}

async function answers(asking, status, body) {
	const response = await asking;
	assert.deepEqual([response.status, JSON.parse(await response.text() || "null")], [status, body]);
	return response;
}

const seen = (topic, event, payload, more) => ({ type: "broadcast", event, payload, topic, ...more });

test("a batch and single messages reach who is subscribed", async () => {
	const client = await join(server, "ann");
	await subscribe(client, "private", { topic: "room:é" });
	await subscribe(client, "public", { topic: "room:é", private: false });
	const batch = [
		{ topic: "room:é", event: "a", payload: { n: 1 }, private: true },
		{ topic: "room:é", event: "b", payload: { n: 2 }, private: false },
		{ topic: "elsewhere", event: "c", payload: {} },
	];
	const response = await answers(send(batch), 202, null);
	assert.equal(response.headers.get("access-control-allow-origin"), "*");
	await answers(httpSend("room:é", "ev/1", { n: 3 }), 202, null);
	await answers(httpSend("room:é", "ev%2F1", [4], { isPrivate: false }), 202, null);
	await answers(httpSend("room:é", "raw", Uint8Array.of(1, 2, 255)), 202, null);
	assert.deepEqual(await unread(client), [
		seen("room:é", "a", { n: 1 }),
		seen("room:é", "b", { n: 2 }),
		seen("room:é", "ev/1", { n: 3 }),
		seen("room:é", "ev%2F1", { _json: [4] }),
		seen("room:é", "raw", "AQL/", { encoding: "base64" }),
	]);
	await client.close();
});

test("the key may stand in the header apikey alone, and the access token may publish anywhere", async () => {
	const client = await join(server, "ann", ["admin"]);
	await subscribe(client, "s", { topic: "news" });
	const message = (n) => [{ topic: "news", event: "e", payload: { n }, private: true }];
	const admin = session("admin");
	await answers(send(message(1), { key: admin, authorization: "Bearer " }), 202, null);
	await answers(send(message(2), { key: "ignored", authorization: `Bearer ${admin}` }), 202, null);
	await answers(send(message(3), { key: ACCESS_TOKEN }), 202, null);
	assert.deepEqual((await unread(client)).map(({ payload }) => payload.n), [1, 2, 3]);
	await client.close();
});

test("what a client may not publish is left out of a batch, and refused alone", async () => {
	const client = await join(server, "ann");
	await subscribe(client, "s", { topic: "room:1" });
	await answers(send([{ topic: "room:1", event: "e", payload: {}, private: true }], { key: guest }), 202, null);
	await answers(httpSend("room:1", "e", {}, { key: guest }), 403, { message: "Unauthorized" });
	assert.deepEqual(await unread(client), []);
	await client.close();
});

test("a key that is not good publishes nothing", async () => {
	const unauthorized = { message: "Unauthorized" };
	const expired = tokenOf("u7", [], { exp: 1 });
	for (const key of ["nonsense", expired]) await answers(httpSend("t", "e", {}, { key }), 401, unauthorized);
	await answers(send([], { key: "", authorization: "" }), 401, unauthorized);
	await answers(send([], { on: guarded, key: session("member") }), 401, unauthorized);
	await answers(send([], { on: guarded, key: ACCESS_TOKEN }), 401, unauthorized);
});

test("what is not of the documented form is answered with what is wrong", async () => {
	const media = { error: "Unsupported Media Type. Use application/json or application/octet-stream" };
	await answers(httpSend("t", "e", {}, { "content-type": "text/plain" }), 415, media);
	await answers(send([], { "content-type": "application/octet-stream" }), 415, media);
	const blank = ["can't be blank"];
	await answers(send([{ topic: "t" }]), 422, { errors: { messages: [{ event: blank, payload: blank }] } });
	const large = { errors: { payload: ["Payload size exceeds tenant limit"] } };
	await answers(httpSend("t", "e", new Uint8Array(65_537), { isPrivate: false }), 422, large);
	await answers(httpSend("t", "e", new Uint8Array(1_048_577), { key: ACCESS_TOKEN }), 422, large);
	await answers(httpSend("t", "e", new Uint8Array(65_536), { isPrivate: false }), 202, null);
});

test("a page may call from anywhere, or from where ALLOWED_ORIGINS says", async () => {
	const wanted = "apikey,authorization,content-type,x-client-info";
	const preflight = async (on, origin, path = `${BROADCAST}/t/events/e`) => {
		const headers = { origin, "access-control-request-method": "POST", "access-control-request-headers": wanted };
		const response = await fetch(on.url + path, { method: "OPTIONS", headers });
		const allowed = response.headers.get("access-control-allow-headers").split(", ");
		for (const header of wanted.split(",")) assert.ok(allowed.includes(header), header);
		return [response.status, response.headers.get("access-control-allow-origin")];
	};
	assert.deepEqual(await preflight(server, APP), [204, "*"]);
	assert.deepEqual(await preflight(server, APP, BROADCAST), [204, "*"]);
	assert.deepEqual(await preflight(guarded, APP), [204, APP]);
	assert.deepEqual(await preflight(guarded, "https://elsewhere.example"), [204, null]);
	const key = tokenOf("u7");
	await answers(send([], { on: guarded, key, origin: "https://elsewhere.example" }), 403, { message: "Unauthorized" });
	const response = await answers(send([], { on: guarded, key, origin: APP }), 202, null);
	assert.equal(response.headers.get("access-control-allow-origin"), APP);
});

test("too much at once is told so", async () => {
	const key = tokenOf("u7");
	const message = { topic: "t", event: "e", payload: {} };
	const reduce = { message: "Too many messages to broadcast, please reduce the batch size" };
	await answers(send(new Array(101).fill(message), { on: guarded, key }), 429, reduce);
	await answers(send(new Array(100).fill(message), { on: guarded, key }), 202, null);
	const response = await answers(send([message], { on: guarded, key }), 429, { message: "Too many requests" });
	assert.ok(response.headers.has("retry-after"));
});

test("whoever asks is answered", async () => {
	await answers(fetch(`${server.url}/realtime/v1/api/ping`), 200, { message: "Success" });
	const response = await fetch(server.url + BROADCAST);
	assert.deepEqual([response.status, response.headers.get("allow")], [405, "POST, OPTIONS"]);
});
