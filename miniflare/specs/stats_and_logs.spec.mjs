/**
 * What an operator sees: figures, liveness, and logs of one JSON line each, which never contain a secret.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { after, test } from "node:test";
import { connect } from "../client.mjs";
import { ACCESS_TOKEN, askForTicket, insert, join, JWT_SECRET, message, now, post, publish, socketUrl, start, stats, subscribe, ticketFor, tokenOf, unread } from "../fixture.mjs";

const API_KEY = "qb_live_of_the_logs_spec";
const HASH = createHash("sha256").update(API_KEY).digest("hex");
const lines = [];
const logged = new EventEmitter();
const server = await start(
	{},
	{
		vars: { API_KEYS: [{ name: "machine", hash: HASH, organizationId: "org_1", roles: ["service"] }] },
		onLog: ({ message: line }) => {
			lines.push(line);
			logged.emit("line");
		},
	},
);
after(() => server.dispose());

/** Every line so far: the line that this request causes is the last. */
async function logs() {
	const path = `/realtime/v1/barrier-${lines.length}`;
	await fetch(server.url + path);
	while (!lines.some((line) => line.includes(path))) await once(logged, "line");
	return lines;
}

test("the figures of an organization that nobody uses are zeros", async () => {
	const { epoch, since, wasmMemory, ...rest } = await stats(server, "org_nobody");
	assert.match(epoch, /^[0-9a-f]{16}$/);
	assert.ok(Math.abs(since - Date.now()) < 60_000);
	assert.ok(wasmMemory > 1e6 && wasmMemory < 1e8 && wasmMemory % 65_536 === 0, `${wasmMemory} bytes`);
	assert.deepEqual(rest, {
		organizationId: "org_nobody",
		connections: 0,
		pending: 0,
		byDialect: {},
		byRole: {},
		topics: 0,
		tables: 0,
		presence: 0,
		offset: 0,
		history: 0,
		publications: 0,
		deliveries: 0,
		tooSlow: 0,
		refusedAttempts: 0,
	});
});

test("the figures count connections, topics, presence and what was delivered", async () => {
	const organizationId = "org_figures";
	const options = { organizationId };
	const [ann, ben] = [await join(server, "ann", ["admin", "member"], options), await join(server, "ben", ["member"], options)];
	const pending = await connect(socketUrl(server, options));
	await subscribe(ann, "r", { topic: "room:1" });
	for (const topic of [undefined, "room:1"]) ben.send({ type: "presence_track", topic, metadata: {} });
	await unread(ben);
	await publish(server, { organizationId, messages: [message(1), message(2, { topic: "room:1" }), message(3, { userId: "ben" })] });
	ben.send({ type: "broadcast", topic: "room:1", event: "e", payload: 4 });
	await unread(ben);
	const { epoch, since, wasmMemory, ...rest } = await stats(server, organizationId);
	assert.deepEqual(rest, {
		organizationId,
		connections: 3,
		pending: 1,
		byDialect: { quickback: 3 },
		byRole: { admin: 1, member: 2 },
		topics: 1,
		tables: 0,
		presence: 2,
		offset: 3,
		history: 3,
		publications: 4,
		deliveries: 5,
		tooSlow: 0,
		refusedAttempts: 0,
	});
	pending.socket.terminate();
	await Promise.all([ann.close(), ben.close()]);
});

test("only the service token sees figures", async () => {
	const ask = async (query, token) => {
		const response = await fetch(`${server.url}/realtime/v1/stats${query}`, { headers: { authorization: `Bearer ${token}` } });
		const { error } = await response.json();
		return [response.status, error?.code, error?.field].filter(Boolean);
	};
	assert.deepEqual(await ask("?organizationId=org_1", tokenOf("u", ["admin"])), [401, "unauthorized"]);
	assert.deepEqual(await ask("?organizationId=org_1", API_KEY), [401, "unauthorized"]);
	assert.deepEqual(await ask("", ACCESS_TOKEN), [400, "invalid_request", "organizationId"]);
	assert.deepEqual(await ask("?organizationId=a/b", ACCESS_TOKEN), [400, "invalid_request", "organizationId"]);
	assert.deepEqual(await ask("?organizationId=org_1", ACCESS_TOKEN), [200]);
});

test("health needs no token and no organization", async () => {
	const response = await fetch(`${server.url}/health`);
	assert.equal(response.headers.get("cache-control"), "no-store");
	const { status, version } = await response.json();
	assert.equal(status, "ok");
	assert.match(version, /^\d+\.\d+\.\d+/);
	assert.equal((await fetch(`${server.url}/health`, { method: "HEAD" })).status, 200);
});

test("a busy day leaves no secret in the logs, and each line is one JSON object", async () => {
	const secrets = [ACCESS_TOKEN, JWT_SECRET, API_KEY, HASH];
	const secret = (what) => secrets[secrets.push(`secret-${what}-${secrets.length}`) - 1];
	const token = (...claims) => secrets[secrets.push(tokenOf(...claims)) - 1];
	const event = (more) => message({ card: secret("payload") }, { maskingConfig: { card: { type: "redact" } }, ...more });

	const client = await join(server, "u", ["member"], { recover: true });
	client.send({ type: "auth", token: token("u", ["member", "admin"]) });
	client.send({ type: "auth", token: token("other") });
	client.send({ type: "auth", token: secret("bad-token") });
	await subscribe(client, secret("id"), { table: "t", filter: `name=eq.${secret("filter")}` });
	await subscribe(client, secret("id"), { table: "t", filter: secret("bad-filter") });
	await subscribe(client, secret("id"), { topic: secret("topic") });
	client.send({ type: "broadcast", topic: "room:1", event: secret("event"), payload: secret("message"), id: secret("id") });
	client.send({ type: "presence_track", metadata: { at: secret("metadata") } });
	client.send({ type: secret("type") });
	client.send(secret("no-json"));
	client.send({ type: "subscribe", id: "x", [secret("key")]: 1, table: "t" });
	await unread(client);

	await publish(server, { messages: [event(), event({ id: secret("idempotency") }), insert("t", { id: secret("row") })] });
	await post(server, { organizationId: "org_1", ...event(), [secret("key")]: 1 });
	await post(server, `{"organizationId":"org_1","payload":${secret("no-json")}`);
	await post(server, { organizationId: secret("organization with spaces"), ...event() });
	await post(server, event(), { token: secret("access-token") });

	const ticket = await ticketFor(server, token("u"));
	secrets.push(ticket);
	const url = socketUrl(server, { ws_ticket: ticket });
	await (await connect(url)).close();
	await connect(url).catch(() => {});
	await connect(socketUrl(server, { ws_ticket: secret("bad-ticket"), token: secret("url-token") })).catch(() => {});
	await connect(socketUrl(server), { headers: { authorization: `Bearer ${secret("header-token")}` } }).catch(() => {});
	await (await connect(socketUrl(server), { headers: { authorization: `Bearer ${API_KEY}` } })).close();
	await askForTicket(server, token("u", [], { organizationId: "org_2" }));
	await askForTicket(server, token("u", [], { exp: now() - 100 }));
	await fetch(`${server.url}/realtime/v1/nothing?token=${secret("query")}`);

	await server.evict("org_1", "hibernate");
	await unread(client);
	await server.evict("org_1", "close");
	await client.closed;
	const { epoch, offset } = client.welcome;
	const back = await join(server, "u", ["member"], { recover: { epoch, offset } });
	assert.ok((await unread(back)).length > 0);
	for (let count = 0; count < 10; count += 1) back.send(secret("error"));
	await back.closed;

	const all = await logs();
	assert.ok(secrets.length > 40);
	for (const line of all) {
		assert.equal(typeof JSON.parse(line).event, "string", line);
		assert.doesNotMatch(line, /\n/);
		for (const value of secrets) {
			assert.ok(!line.includes(value) && !line.includes(encodeURIComponent(value)), `${value} in ${line}`);
			// Nor a part of a token, such as its signature.
			for (const part of value.split(".").slice(1)) assert.ok(!line.includes(part), `${part} in ${line}`);
		}
	}
	const events = new Set(all.map((line) => JSON.parse(line).event));
	for (const event of ["woken", "connected", "refused", "closed"]) assert.ok(events.has(event), event);
	assert.ok(!events.has("fault"), all.find((line) => line.includes("fault")));
});
