/**
 * Hibernation: what wakes an object and what does not, and that its clients do not notice.
 */
import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { connect } from "../client.mjs";
import { insert, join, message, now, publish, socketUrl, start, stats, subscribe, tokenOf, unread } from "../fixture.mjs";

const keyPair = generateKeyPairSync("ed25519");
const jwk = { ...keyPair.publicKey.export({ format: "jwk" }), kid: "k" };
const issuer = createServer((_request, response) => response.end(JSON.stringify({ keys: [jwk] }))).listen(0, "127.0.0.1");
await once(issuer, "listening");
after(() => issuer.close());

const lines = [];
const logged = new EventEmitter();
const server = await start(
	{ limits: { filterBytes: 1_000_000 }, tables: { people: { masking: { ssn: { type: "ssn", show: { roles: ["hr"] } } } } } },
	{
		vars: { JWKS_URL: `http://127.0.0.1:${issuer.address().port}/` },
		onLog: ({ message: line }) => {
			lines.push(line);
			logged.emit("line");
		},
	},
);
after(() => server.dispose());

let barriers = 0;
/**
 * How often an organization's object has started: logs are ordered, so one last line shows that all earlier ones have
 * arrived.
 */
async function wakes(organizationId) {
	const path = `/realtime/v1/barrier-${(barriers += 1)}`;
	await fetch(server.url + path);
	while (!lines.some((line) => line.includes(path))) await once(logged, "line");
	const events = lines.map((line) => JSON.parse(line));
	return events.filter((line) => line.event === "woken" && line.organizationId === organizationId).length;
}

/** Runs `act` against a hibernating object and returns how often that woke it. */
async function wakesDuring(organizationId, act) {
	await server.evict(organizationId, "hibernate");
	const before = await wakes(organizationId);
	await act();
	return (await wakes(organizationId)) - before;
}

test("the exact ping is answered without waking the object", async () => {
	const organizationId = "org_ping";
	const client = await join(server, "u", ["member"], { organizationId });
	const woken = await wakesDuring(organizationId, async () => {
		for (let count = 0; count < 10; count += 1) {
			client.send('{"type":"ping"}');
			assert.deepEqual(await client.next(), { type: "pong" });
		}
	});
	assert.equal(woken, 0);
	await client.close();
});

test("any other frame, a publication, a close and the figures wake it, once", async () => {
	const organizationId = "org_wake";
	// One after the other: an object that two requests wake at the same moment cannot be evicted.
	const client = await join(server, "u", ["member"], { organizationId });
	const other = await join(server, "v", ["member"], { organizationId });
	assert.equal(await wakesDuring(organizationId, () => unread(client)), 1);
	assert.equal(await wakesDuring(organizationId, () => publish(server, { organizationId, ...message(1) })), 1);
	assert.equal((await unread(client)).length, 1);
	assert.equal(await wakesDuring(organizationId, () => other.close()), 1);
	const { since } = await stats(server, organizationId);
	assert.equal(await wakesDuring(organizationId, async () => assert.ok((await stats(server, organizationId)).since > since)), 1);
	await client.close();
});

test("a deadline wakes it", async () => {
	const organizationId = "org_deadline";
	const client = await join(server, "u", ["member"], { organizationId, claims: { exp: now() + 6 } });
	const woken = await wakesDuring(organizationId, async () => {
		assert.deepEqual(await client.next(), { type: "auth_expired" });
	});
	assert.equal(woken, 1);
	await client.close();
});

test("everyone keeps who they are and what they listen to", async () => {
	const organizationId = "org_keep";
	const options = { organizationId };
	const hr = await join(server, "hr", ["hr"], options);
	const member = await join(server, "member", ["member"], { ...options, recover: true });
	const narrow = await join(server, "narrow", ["member"], options);
	await subscribe(narrow, "t", { table: "people", event: "INSERT", filter: "id=gt.1" });
	await subscribe(member, "r", { topic: "room:1" });
	member.send({ type: "presence_track", topic: "room:1", metadata: { a: 1 } });
	await unread(member);
	const pending = await connect(socketUrl(server, options));

	for (let life = 1; life <= 3; life += 1) {
		await server.evict(organizationId, "hibernate");
		const rows = [1, 2].map((id) => insert("people", { id, ssn: "123-45-6789" }));
		await publish(server, { organizationId, messages: [...rows, message("room", { topic: "room:1" }), message("hr", { userId: "hr" })] });
		assert.deepEqual((await unread(hr)).map((frame) => frame.new?.ssn ?? frame.payload), ["123-45-6789", "123-45-6789", "hr"]);
		const frames = await unread(member);
		assert.deepEqual(frames.map((frame) => frame.new?.ssn ?? frame.payload), ["*****6789", "*****6789", "room"]);
		assert.deepEqual(frames.map(({ offset }) => offset), [1, 2, 3].map((index) => (life - 1) * 4 + index));
		assert.deepEqual((await unread(narrow)).map((frame) => frame.new.id), [2]);
		assert.equal(pending.frames.length, 0);
	}
	const { connections, pending: waiting, presence, topics, byRole } = await stats(server, organizationId);
	assert.deepEqual([connections, waiting, presence, topics, byRole], [4, 1, 1, 1, { hr: 1, member: 2 }]);
	await server.evict(organizationId, "hibernate");
	pending.send({ type: "auth", token: tokenOf("late", [], { organizationId }) });
	assert.equal((await pending.next()).userId, "late");
	await Promise.all([hr, member, narrow, pending].map((client) => client.close()));
});

test("errors of before count after it", async () => {
	const organizationId = "org_errors";
	const client = await join(server, "u", [], { organizationId });
	for (let count = 0; count < 9; count += 1) {
		client.send("no JSON");
		await client.next();
		if (count % 4 === 0) await server.evict(organizationId, "hibernate");
	}
	client.send("no JSON");
	assert.equal((await client.closed).code, 1008);
});

test("subscriptions that do not fit into an attachment survive as well", async () => {
	const organizationId = "org_large";
	const client = await join(server, "u", ["member"], { organizationId });
	const values = (index) => Array.from({ length: 100 }, (_, of) => index * 100 + of);
	for (let index = 0; index < 60; index += 1) {
		client.send({ type: "subscribe", id: `山${index}`, table: "t", filter: `id=in.(${values(index).join(",")})` });
	}
	assert.equal((await unread(client)).filter(({ type }) => type === "subscribed").length, 60);
	const seen = async () => {
		await server.evict(organizationId, "hibernate");
		const messages = [0, 5_950, 6_000].map((id) => insert("t", { id }));
		await publish(server, { organizationId, messages });
		return (await unread(client)).filter((frame) => frame.new).map((frame) => frame.new.id);
	};
	assert.deepEqual(await seen(), [0, 5_950]);
	await server.evict(organizationId, "hibernate");
	for (let index = 1; index < 60; index += 1) client.send({ type: "unsubscribe", id: `山${index}` });
	await unread(client);
	assert.deepEqual(await seen(), [0]);
	assert.deepEqual(await seen(), [0]);
	await client.close();
});

/** A token whose key must be fetched by the object. */
function fetchedKeyToken(claims) {
	const parts = [{ alg: "EdDSA", kid: "k" }, { sub: "u", ...claims }];
	const content = parts.map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
	return `${content}.${sign(null, Buffer.from(content), keyPair.privateKey).toString("base64url")}`;
}

test("nothing keeps an idle object awake", async () => {
	// The runtime hibernates an object that was idle for ten seconds. The alarm for unauthenticated sockets fires ten
	// seconds after they have connected, so this is twenty seconds later; then the tokens' expiry wakes it again.
	const exp = now() + 25;
	const enter = async (organizationId, url, token) => {
		const client = await connect(url);
		client.send({ type: "auth", organizationId, token });
		client.send({ type: "subscribe", id: "t", table: "t" });
		client.send({ type: "presence_track", metadata: {} });
		await client.next(({ type }) => type === "presence_join");
		await publish(server, { organizationId, ...message(1, { id: "key" }) });
		assert.deepEqual(await client.next(({ type }) => type === "auth_expired", 60_000), { type: "auth_expired" });
		const woken = await wakes(organizationId);
		client.socket.terminate();
		return woken;
	};
	const session = (organizationId) => tokenOf("u", [], { organizationId, exp });
	const idle = await Promise.all([
		enter("org_idle", socketUrl(server, { organizationId: "org_idle" }), session("org_idle")),
		enter("org_idle_held", socketUrl(server, {}), session("org_idle_held")),
		enter("org_idle_keys", socketUrl(server, { organizationId: "org_idle_keys" }), fetchedKeyToken({ organizationId: "org_idle_keys", exp })),
	]);
	assert.deepEqual(idle, [2, 2, 2]);
});

test("a wake takes no memory anew", async () => {
	const organizationId = "org_memory";
	const clients = [];
	for (let count = 0; count < 100; count += 1) clients.push(await join(server, `u${count}`, ["member"], { organizationId }));
	const memoryOfWake = async () => {
		await server.evict(organizationId, "hibernate");
		return (await stats(server, organizationId)).wasmMemory;
	};
	const first = await memoryOfWake();
	let last = first;
	for (let count = 0; count < 15; count += 1) last = await memoryOfWake();
	// One life takes more than a page of 64 KB.
	assert.ok(last - first <= 2 * 65_536, `${first} bytes became ${last}`);
	await Promise.all(clients.map((client) => client.close()));
});
