/** If WebSockets are blocked, the client continues over HTTP, with the same guarantees. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { eventStreamFallback } from "../src/client/index.ts";
import { broadcast, broken, insert, next, publish, record, startRig, state, stats, token, until, within } from "./client-rig.mjs";

const { server, open } = await startRig();

/** A WebSocket that a proxy refuses. */
class Blocked {
	static count = 0;
	constructor() {
		Blocked.count += 1;
		queueMicrotask(() => this.onclose?.({ code: 1006, reason: "" }));
	}
	send() {}
	close() {}
}

/** A `fetch` whose streams can be cut, and that counts its requests. */
function network() {
	const asked = { streams: [], frames: 0 };
	const cuts = new Set();
	const through = async (url, init) => {
		if (init.method === "POST") asked.frames += 1;
		else asked.streams.push(new URL(url).searchParams);
		const cut = new AbortController();
		cuts.add(cut);
		return fetch(url, { ...init, signal: AbortSignal.any([init.signal, cut.signal]) });
	};
	const cut = () => {
		for (const one of cuts) one.abort();
		cuts.clear();
	};
	return { asked, fetch: through, cut };
}

/** Resolves when the organization has so many connections. */
async function only(connections) {
	while ((await stats(server.url)).connections !== connections);
}

test("it is tried after WebSockets from which nothing came, and gets what they would bring", async (t) => {
	const net = network();
	Blocked.count = 0;
	const client = open(t, { WebSocket: eventStreamFallback({ WebSocket: Blocked, fetch: net.fetch }) });
	const changes = record();
	client.on("claims", "INSERT", changes.handler, { filter: "status=eq.open" });
	await state(client, "connected");
	assert.deepEqual([Blocked.count, net.asked.streams.length], [2, 1]);
	assert.equal(client.identity.userId, "u1");
	await publish(server.url, insert("claims", { id: 1, status: "open" }), insert("claims", { id: 2, status: "shut" }), insert("claims", { id: 3, status: "open" }));
	await changes.count(2);
	assert.deepEqual(changes.all.map((change) => change.new.id), [1, 3]);
});

test("handlers, messages and presence go both ways, in their order", async (t) => {
	const net = network();
	const client = open(t, { WebSocket: eventStreamFallback({ after: 0, fetch: net.fetch }) });
	const other = open(t, { getToken: () => token({ sub: "u2" }) });
	const heard = record();
	await other.topic("room:1").on("*", heard.handler).ready;
	const room = client.topic("room:1");
	const echo = record();
	await room.on("*", echo.handler).ready;
	await Promise.all(Array.from({ length: 20 }, (_, n) => room.send("tick", n)));
	await heard.count(20);
	assert.deepEqual(heard.all.map(({ payload }) => payload), [...Array(20).keys()]);
	assert.deepEqual(echo.all.map(({ payload }) => payload), [...Array(20).keys()]);
	other.topic("room:1").presence.on(() => {});
	room.presence.track({ name: "Ada" });
	await until(() => other.topic("room:1").presence.members.some(({ user_id: user }) => user === "u1"));
	await assert.rejects(client.topic("elsewhere").send("tick", 1), { code: "forbidden" });
});

test("a stream that drops is resumed where it was, without a loss or a repetition", async (t) => {
	const net = network();
	const client = open(t, { WebSocket: eventStreamFallback({ after: 0, fetch: net.fetch }) });
	const all = record();
	client.on.broadcast("*", all.handler);
	client.on.gap(() => assert.fail("nothing was missed"));
	await state(client, "connected");
	for (let round = 0; round < 3; round += 1) {
		await publish(server.url, broadcast("note", 2 * round));
		await all.count(2 * round + 1);
		const { position } = client;
		await broken(client, () => net.cut());
		await publish(server.url, broadcast("note", 2 * round + 1));
		await all.count(2 * round + 2);
		assert.equal(net.asked.streams.at(-1).get("lastEventId"), `${position.epoch}:${position.offset}`);
	}
	assert.deepEqual(all.all.map(({ payload }) => payload), [0, 1, 2, 3, 4, 5]);
	// workerd does not evict an object while a socket of it is still closing.
	await within(only(1), "a stream that was cut is still open");
	await broken(client, () => server.evict("org_1", "close"));
	await publish(server.url, broadcast("note", 6));
	await all.count(7);
	assert.equal(all.all.at(-1).payload, 6);
});

test("what is refused is told as on a WebSocket", async (t) => {
	const fallback = () => eventStreamFallback({ after: 0 });
	const wrong = open(t, { organizationId: "org_2", WebSocket: fallback(), getToken: () => token() });
	wrong.connect();
	assert.equal((await next(wrong.on.error)).code, "wrong_organization");
	assert.equal(wrong.status.state, "closed");
	const reasons = [];
	const expired = open(t, {
		WebSocket: fallback(),
		getToken: (reason) => {
			reasons.push(reason);
			return reasons.length === 1 ? token({ exp: 1 }) : token();
		},
	});
	expired.connect();
	await state(expired, "connected");
	assert.equal(reasons.length, 2, "a fresh token opens the next one");
	// One malformed filter costs its handler, not the stream.
	const client = open(t, { WebSocket: fallback() });
	const bad = client.on("claims", "*", () => {}, { filter: "nonsense" });
	const good = client.on("others", "*", () => {});
	client.on.error(() => {});
	await assert.rejects(bad.ready, { code: "invalid_filter" });
	await good.ready;
});

test("a stream that has worked is followed by one WebSocket, and by a stream if nothing comes from that", async (t) => {
	const net = network();
	Blocked.count = 0;
	const client = open(t, { WebSocket: eventStreamFallback({ WebSocket: Blocked, fetch: net.fetch }) });
	client.connect();
	await state(client, "connected");
	await broken(client, () => net.cut());
	await until(() => client.status.state === "connected");
	assert.deepEqual([Blocked.count, net.asked.streams.length], [3, 2]);
	// If WebSockets work, none of this is used.
	const free = network();
	const direct = open(t, { WebSocket: eventStreamFallback({ fetch: free.fetch }) });
	direct.connect();
	await state(direct, "connected");
	assert.deepEqual(free.asked, { streams: [], frames: 0 });
});
