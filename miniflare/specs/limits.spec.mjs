/**
 * Limits: each row of the table, at its edge and one past it, on what a client does. Publishers' limits are in
 * broadcast.spec.mjs.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect, UpgradeRefused } from "../client.mjs";
import { isPong, join, message, publish, socketUrl, start, stats, subscribe, ticketFor, tokenOf, unread } from "../fixture.mjs";

const server = await start();
after(() => server.dispose());
const small = await start({
	limits: { connections: 3, subscriptions: 2, topics: 2, presences: 2, presenceMembers: 2, presenceBytes: 20, frameBytes: 500 },
});
after(() => small.dispose());
const slow = await start({ limits: { framesPerSecond: 5, errorsPerMinute: 1_000 } });
after(() => slow.dispose());

const track = (topic, metadata = {}) => ({ type: "presence_track", topic, metadata });
const codes = async (client) => (await unread(client)).map(({ type, code }) => code ?? type);

/** A message to room 1 of this many bytes. */
function frameOf(bytes) {
	const frame = { type: "broadcast", topic: "room:1", event: "e", id: "f", payload: "" };
	return JSON.stringify({ ...frame, payload: "x".repeat(bytes - JSON.stringify(frame).length) });
}

for (const parameters of [{ organizationId: "org_1" }, {}]) {
	const how = parameters.organizationId ? "straight to the object" : "held by the Worker";
	test(`a frame of 64 KiB is taken, a larger one refused and the connection stays, ${how}`, async () => {
		const client = await connect(socketUrl(server, parameters));
		client.send(frameOf(65_537));
		assert.equal((await client.next()).code, "frame_too_large");
		client.send({ type: "auth", token: tokenOf("u"), organizationId: "org_1" });
		await client.next();
		client.send(frameOf(65_536));
		assert.deepEqual(await client.next(), { type: "ack", id: "f" });
		client.send(frameOf(65_537));
		assert.equal((await client.next()).code, "frame_too_large");
		client.send(frameOf(1_000_000));
		assert.equal((await client.next()).code, "frame_too_large");
		client.send(Buffer.alloc(65_537));
		assert.equal((await client.next()).code, "frame_too_large");
		assert.deepEqual(await unread(client), []);
		await client.close();
	});
}

for (const parameters of [{ organizationId: "org_1" }, {}]) {
	const how = parameters.organizationId ? "straight to the object" : "held by the Worker";
	for (const [kind, message] of [["text", "x".repeat(4_194_305)], ["binary", Buffer.alloc(4_194_305)]]) {
		test(`a ${kind} message of more than 4 MiB closes its socket, ${how}`, async () => {
			const client = await connect(socketUrl(server, parameters));
			client.send(message);
			assert.equal((await client.closed).code, 1009);
		});
	}
}

test("bytes are counted, not characters, and a deployment may allow fewer", async () => {
	const client = await join(small, "u");
	const size = (payload) => Buffer.byteLength(JSON.stringify({ type: "broadcast", topic: "room:1", event: "e", id: "f", payload }));
	const payload = "é".repeat((500 - size("")) / 2);
	client.send({ type: "broadcast", topic: "room:1", event: "e", id: "f", payload });
	client.send({ type: "broadcast", topic: "room:1", event: "e", id: "f", payload: `${payload}é` });
	assert.deepEqual(await codes(client), ["ack", "frame_too_large"]);
	await client.close();
});

test("an organization has so many connections, and a place that is left is free again", async () => {
	const organizationId = "org_full";
	const clients = await Promise.all(["a", "b", "c"].map((user) => join(small, user, [], { organizationId })));
	const late = await connect(socketUrl(small, { organizationId }));
	late.send({ type: "auth", token: tokenOf("d", [], { organizationId }) });
	const { type, code } = await late.next();
	assert.deepEqual([type, code], ["auth_error", "connection_limit"]);
	assert.deepEqual(await late.closed, { code: 1013, reason: "connection_limit" });
	const held = await connect(socketUrl(small, {}));
	held.send({ type: "auth", token: tokenOf("d", [], { organizationId }), organizationId });
	assert.equal((await held.next()).code, "connection_limit");
	assert.equal((await held.closed).code, 1013);
	await publish(small, { organizationId, ...message(1) });
	for (const client of clients) assert.equal((await unread(client)).length, 1);
	assert.equal((await stats(small, organizationId)).connections, 3);
	const other = await join(small, "a", [], { organizationId: "org_other" });
	await clients[0].close();
	const welcome = await join(small, "d", [], { organizationId });
	await Promise.all([...clients, other, welcome].map((client) => client.close()));
});

test("a flood of frames is refused beyond the burst, and pings are free", async () => {
	const client = await join(slow, "u");
	for (let count = 0; count < 200; count += 1) client.send({ type: "unsubscribe", id: `${count}` });
	const seen = { unknown_subscription: 0, rate_limited: 0 };
	for (let count = 0; count < 200; count += 1) seen[(await client.next()).code] += 1;
	assert.ok(seen.unknown_subscription >= 9, JSON.stringify(seen));
	assert.ok(seen.rate_limited >= 100, JSON.stringify(seen));
	for (let count = 0; count < 200; count += 1) client.send('{"type":"ping"}');
	for (let count = 0; count < 200; count += 1) assert.ok(isPong(await client.next()));
	await client.close();
});

test("a connection has so many table subscriptions and topics", async () => {
	const client = await join(small, "u");
	const answers = [];
	for (const id of ["1", "2", "3"]) answers.push((await subscribe(client, id, { table: `t${id}` })).code);
	for (const id of ["4", "5", "6"]) answers.push((await subscribe(client, id, { topic: `room:${id}` })).code);
	assert.deepEqual(answers, [undefined, undefined, "subscription_limit", undefined, undefined, "topic_limit"]);
	client.send({ type: "unsubscribe", id: "1" });
	await client.next();
	assert.equal((await subscribe(client, "3", { table: "t3" })).type, "subscribed");
	await client.close();
	const many = Array.from({ length: 201 }, (_, index) => ({ id: `${index}`, table: "t" }));
	await assert.rejects(join(server, "u", [], { subscriptions: many }), /invalid_frame/);
});

test("a connection is in so many topics, a topic has so many members, metadata so many bytes", async () => {
	const [ann, ben, cat] = await Promise.all(["ann", "ben", "cat"].map((user) => join(small, user)));
	for (const topic of ["room:1", "room:2", "room:3"]) ann.send(track(topic));
	assert.deepEqual((await codes(ann)).filter((code) => code.includes("limit")), ["presence_limit"]);
	ben.send(track("room:1"));
	await unread(ben);
	cat.send(track("room:1"));
	assert.equal((await cat.next()).code, "presence_limit");
	cat.send(track("room:4", { a: "x".repeat(12) }));
	assert.deepEqual(await codes(cat), ["presence_state", "presence_join"]);
	cat.send(track("room:5", { a: "x".repeat(13) }));
	cat.send({ type: "presence_update", topic: "room:4", metadata: { a: "é".repeat(7) } });
	assert.deepEqual(await codes(cat), ["metadata_too_large", "metadata_too_large"]);
	await ann.close();
	cat.send(track("room:1"));
	assert.deepEqual((await codes(cat)).slice(0, 1), ["presence_state"]);
	await Promise.all([ben.close(), cat.close()]);
});

test("names are as long as 255 bytes", async () => {
	const client = await join(server, "u");
	const long = "é".repeat(128);
	const fits = long.slice(1) + "x";
	const frames = (name) => [
		{ type: "subscribe", id: name, table: "t" },
		{ type: "subscribe", id: `a${name.length}`, table: name },
		{ type: "subscribe", id: `b${name.length}`, table: "t", schema: name },
		{ type: "subscribe", id: `c${name.length}`, topic: name, private: false },
		{ type: "broadcast", id: "m", topic: name, private: false, event: "e", payload: 1 },
		{ type: "broadcast", id: "m", topic: "t", private: false, event: name, payload: 1 },
		{ type: "broadcast", id: name, topic: "t", private: false, event: "e", payload: 1 },
	];
	for (const frame of frames(fits)) client.send(frame);
	assert.deepEqual((await codes(client)).filter((code) => !["subscribed", "ack", "broadcast"].includes(code)), []);
	for (const frame of frames(long)) client.send(frame);
	assert.deepEqual(await codes(client), Array(7).fill("name_too_long"));
	await client.close();
});

test("the tenth refused frame within a minute ends the connection", async () => {
	const client = await join(server, "u");
	for (let count = 0; count < 9; count += 1) client.send({ type: "unsubscribe", id: "none" });
	assert.equal((await unread(client)).length, 9);
	client.send({ type: "nothing" });
	assert.equal((await client.next()).code, "unknown_type");
	assert.deepEqual(await client.closed, { code: 1008, reason: "too_many_errors" });
});

test("claims and tickets are as large as they may be, and no larger", async () => {
	const roles = (count) => Array.from({ length: count }, (_, index) => `role-${index}-${"x".repeat(20)}`);
	const client = await join(server, "u", roles(300));
	assert.equal(client.welcome.roles.length, 300);
	await server.evict("org_1", "hibernate");
	await publish(server, message(1, { targetRoles: [roles(300)[299]] }));
	assert.equal((await unread(client)).length, 1, "the principal alone is larger than an attachment may be");
	await client.close();
	const ticket = await ticketFor(server, tokenOf("u", roles(100)));
	await (await connect(socketUrl(server, { ws_ticket: ticket }))).close();
	const error = await connect(socketUrl(server, { ws_ticket: "x".repeat(8_193) })).catch((error) => error);
	assert.ok(error instanceof UpgradeRefused);
	assert.equal(error.status, 401);
});
