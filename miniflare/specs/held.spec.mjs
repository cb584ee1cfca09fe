/**
 * Sockets whose URL names no organization: the Worker holds them, and nobody can tell them from direct ones.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect, UpgradeRefused } from "../client.mjs";
import { join, message, publish, socketUrl, start, stats, subscribe, tokenOf, unread } from "../fixture.mjs";

const server = await start();
after(() => server.dispose());
const single = await start({}, { vars: { DEFAULT_ORGANIZATION: "org_main" } });
after(() => single.dispose());

/** An authenticated connection that is forwarded to its organization's object. */
async function hold(user, roles, organizationId = "org_1", of = server) {
	const client = await connect(socketUrl(of, {}));
	client.send({ type: "auth", token: tokenOf(user, roles, { organizationId }), organizationId });
	client.welcome = await client.next();
	assert.equal(client.welcome.type, "auth_success");
	return client;
}

test("frames pass both ways, in their order", async () => {
	const client = await hold("u");
	assert.deepEqual(await subscribe(client, "room", { topic: "room:1" }), { type: "subscribed", id: "room" });
	for (let index = 0; index < 50; index += 1) {
		client.send({ type: "broadcast", topic: "room:1", event: "n", payload: index, id: `${index}` });
	}
	await publish(server, message(50));
	const frames = await unread(client);
	const payloads = frames.filter(({ type }) => type === "broadcast").map(({ payload }) => payload);
	assert.deepEqual(payloads.sort((a, b) => a - b), [...Array(51).keys()]);
	const acks = frames.filter(({ type }) => type === "ack").map(({ id }) => Number(id));
	assert.deepEqual(acks, [...Array(50).keys()]);
	await client.close();
});

test("what is sent right behind the auth frame is not lost", async () => {
	const client = await connect(socketUrl(server, {}));
	client.send({ type: "auth", token: tokenOf("u"), organizationId: "org_1" });
	for (let index = 0; index < 20; index += 1) client.send({ type: "subscribe", id: `${index}`, table: `t${index}` });
	assert.equal((await client.next()).type, "auth_success");
	const frames = await unread(client);
	assert.deepEqual(frames.map(({ type, id }) => `${type} ${id}`), [...Array(20).keys()].map((id) => `subscribed ${id}`));
	await client.close();
});

test("large frames and any text pass unchanged", async () => {
	const client = await hold("u");
	await subscribe(client, "room", { topic: "room:1" });
	const payload = `é山🦀\u0000${"x".repeat(60_000)}`;
	client.send({ type: "broadcast", topic: "room:1", event: "n", payload });
	assert.equal((await client.next()).payload, payload);
	await publish(server, message("y".repeat(900_000)));
	assert.equal((await client.next()).payload.length, 900_000);
	await client.close();
});

test("binary frames reach the object as such", async () => {
	const client = await hold("u");
	client.send(Buffer.from('{"type":"unsubscribe","id":"x"}'));
	const { code, message: sentence } = await client.next();
	assert.deepEqual([code, sentence], ["invalid_frame", "Frames are JSON text."]);
	await client.close();
});

test("pings are answered before and after the organization is known", async () => {
	const client = await connect(socketUrl(server, {}));
	client.send('{"type":"ping"}');
	assert.deepEqual(await client.next(), { type: "pong" });
	client.send({ type: "auth", token: tokenOf("u"), organizationId: "org_1" });
	await client.next();
	client.send('{"type":"ping"}');
	assert.deepEqual(await client.next(), { type: "pong" });
	await client.close();
});

test("a close of the client reaches the object, and its code comes back", async () => {
	const watcher = await join(server, "watcher", ["member"], { organizationId: "org_close" });
	watcher.send({ type: "presence_track", metadata: {} });
	await unread(watcher);
	for (const [code, reason] of [[4001, "bye"], [1000, ""], [1001, "going away"]]) {
		const client = await hold("u", ["member"], "org_close");
		client.send({ type: "presence_track", metadata: {} });
		await watcher.next(({ type }) => type === "presence_join");
		assert.equal((await client.close(code, reason)).code, code);
		await watcher.next(({ type, user_id }) => type === "presence_leave" && user_id === "u");
	}
	assert.equal((await stats(server, "org_close")).connections, 1);
	await watcher.close();
});

test("a client that vanishes is noticed by the object", async () => {
	const watcher = await join(server, "watcher", ["member"], { organizationId: "org_vanish" });
	watcher.send({ type: "presence_track", metadata: {} });
	const client = await hold("u", ["member"], "org_vanish");
	client.send({ type: "presence_track", metadata: {} });
	await watcher.next(({ type, user_id }) => type === "presence_join" && user_id === "u");
	client.socket.terminate();
	await watcher.next(({ type, user_id }) => type === "presence_leave" && user_id === "u");
	await watcher.close();
});

test("a close of the object reaches the client with code and reason", async () => {
	const client = await hold("u");
	for (let count = 0; count < 10; count += 1) client.send("no JSON");
	assert.deepEqual(await client.closed, { code: 1008, reason: "too_many_errors" });
});

test("a crash of the object ends the held socket too", async () => {
	const client = await hold("u", ["member"], "org_crash");
	await server.evict("org_crash", "close");
	const { code } = await client.closed;
	assert.ok([1006, 1011].includes(code), `${code}`);
});

test("a hibernation of the object does not", async () => {
	const client = await hold("u", ["member"], "org_sleep");
	await server.evict("org_sleep", "hibernate");
	await publish(server, message("still here", { organizationId: "org_sleep" }));
	assert.equal((await client.next()).payload, "still here");
	await client.close();
});

test("a frame that names no organization needs a default one", async () => {
	const client = await connect(socketUrl(server, {}));
	client.send({ type: "auth", token: tokenOf("u") });
	assert.equal((await client.next()).code, "wrong_organization");
	assert.equal((await client.closed).code, 1008);

	const main = await connect(socketUrl(single, {}));
	main.send({ type: "auth", token: tokenOf("u", [], { organizationId: "org_main" }) });
	assert.equal((await main.next()).organizationId, "org_main");
	await main.close();
	const other = await hold("u", [], "org_other", single);
	assert.equal(other.welcome.organizationId, "org_other");
	await other.close();
});

test("a name that is no organization's reaches no object", async () => {
	for (const organizationId of ["a/b", "../x", "ü", "a".repeat(128).concat("é")]) {
		const client = await connect(socketUrl(server, {}));
		client.send({ type: "auth", token: tokenOf("u"), organizationId });
		assert.match((await client.next()).code, /wrong_organization|name_too_long/);
		client.socket.terminate();
		const error = await connect(socketUrl(server, { organizationId })).catch((error) => error);
		assert.ok(error instanceof UpgradeRefused);
		assert.equal(error.status, 400);
	}
});

test("without an upgrade the path answers 426", async () => {
	for (const url of [socketUrl(server), socketUrl(server, {})]) {
		const response = await fetch(url);
		assert.equal(response.status, 426);
		assert.equal((await response.json()).error.code, "upgrade_required");
	}
	assert.equal((await fetch(socketUrl(server), { method: "POST" })).status, 405);
});
