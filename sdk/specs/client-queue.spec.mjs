/** Messages wait for a connection, are sent in order, and a repeated one is delivered once. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Hono } from "hono";
import { createClient, createQueue, RealtimeError } from "realtime-worker/client";
import { realtime } from "realtime-worker/hono";
import { createTestServer } from "realtime-worker/testing";
import { ACCESS_TOKEN, join, JWT_SECRET, start, subscribe, tokenOf, unread } from "../../miniflare/fixture.mjs";

const channels = [{ topic: "room:*", read: {}, write: { roles: ["member"] } }];
const server = await start({ channels });
after(() => server.dispose());

const connectTo = (context, options = {}) => {
	const client = createClient(server.url, { organizationId: "org_1", token: tokenOf("mel"), backoff: { base: 1, max: 1 }, autoConnect: false, ...options });
	context.after(() => client.close());
	return client;
};
const listen = async (topic) => {
	const client = await join(server, "ada", ["member"]);
	await subscribe(client, "t", { topic });
	return { seen: async () => (await unread(client)).map(({ payload }) => payload), close: () => client.close() };
};
const memory = () => {
	const kept = new Map();
	return { getItem: (key) => kept.get(key) ?? null, setItem: (key, text) => kept.set(key, text) };
};

test("what is said offline waits, over a reload too, and goes in order when there is a connection", async (context) => {
	const room = await listen("room:offline");
	const storage = memory();
	const before = connectTo(context);
	const left = createQueue(before, { storage });
	void left.send("room:offline", "said", 1).catch(() => {});
	void left.send("room:offline", "said", 2).catch(() => {});
	left.close();
	assert.equal(left.waiting.length, 2);

	const client = connectTo(context);
	const queue = createQueue(client, { storage });
	const sent = [3, 4, 5].map((payload) => queue.send("room:offline", "said", payload));
	assert.deepEqual(queue.waiting.map(({ payload }) => payload), [1, 2, 3, 4, 5]);
	assert.deepEqual(await room.seen(), []);
	client.connect();
	await Promise.all(sent);
	assert.deepEqual(await room.seen(), [1, 2, 3, 4, 5]);
	assert.deepEqual([queue.waiting, storage.getItem("realtime-queue")], [[], "[]"]);
	await room.close();
});

test("a message whose answer was lost is sent again, and published once", async (context) => {
	const room = await listen("room:lost");
	let acks = 0;
	/** A connection that breaks before it delivers the first acknowledgement. */
	class Breaking extends WebSocket {
		set onmessage(handler) {
			super.onmessage = (event) => {
				if (!event.data.includes('"ack"') || (acks += 1) > 1) return handler?.(event);
				this.close();
			};
		}
	}
	const client = connectTo(context, { WebSocket: Breaking });
	const queue = createQueue(client, { delay: 1 });
	const sent = ["once", "then"].map((payload) => queue.send("room:lost", "said", payload));
	client.connect();
	await Promise.all(sent);
	assert.equal(acks, 3, "the first one was answered twice");
	assert.deepEqual(await room.seen(), ["once", "then"]);
	await room.close();
});

test("a refusal rejects and does not hold up the others; too many are refused", async (context) => {
	const room = await listen("room:refused");
	const client = connectTo(context);
	const queue = createQueue(client, { max: 2 });
	const refused = queue.send("hall", "said", 1);
	const taken = queue.send("room:refused", "said", 2);
	await assert.rejects(queue.send("room:refused", "said", 3), { code: "queue_full" });
	client.connect();
	await assert.rejects(refused, { code: "forbidden" });
	await taken;
	assert.deepEqual(await room.seen(), [2]);
	await room.close();
});

test("an answer that is lost is asked for again with the same key, and the message is delivered once", async (context) => {
	const room = await listen("room:once");
	const app = new Hono().use(realtime({ tables: {}, channels, viewer: (c) => ({ userId: c.req.header("x-user"), organizationId: "org_1", roles: ["member"] }) }));
	const env = { REALTIME_URL: server.url, ACCESS_TOKEN, JWT_SECRET };
	const post = (body, user = "mel") => app.request("/realtime/publish", { method: "POST", body: JSON.stringify(body), headers: { "x-user": user } }, env);
	let tries = 0;
	const deliver = async (message) => {
		const { status } = await post(message);
		if (status >= 400) throw new RealtimeError("forbidden", `${status}`);
		if ((tries += 1) < 3) throw new TypeError("the network is gone");
	};
	const queue = createQueue(connectTo(context), { deliver, delay: 1 });
	await queue.send("room:once", "said", "hello");
	await assert.rejects(queue.send("hall", "said", "hello"), { code: "forbidden" });
	assert.deepEqual([tries, await room.seen()], [3, ["hello"]]);

	// The key belongs to a user: another user's message with the same key is another message.
	const message = { id: "k", topic: "room:once", event: "said" };
	for (const user of ["mel", "ada", "mel"]) assert.equal((await post({ ...message, payload: user }, user)).status, 200);
	assert.deepEqual(await room.seen(), ["mel", "ada"]);
	// However users are called, and whatever they choose.
	for (const [user, id] of [["mel", "x:y"], ["mel:x", "y"]]) assert.equal((await post({ ...message, id, payload: id }, user)).status, 200);
	assert.deepEqual(await room.seen(), ["x:y", "y"]);
	for (const body of [{}, { ...message, id: "" }, { ...message, topic: 7 }, null]) assert.equal((await post(body)).status, 400);
	await room.close();
});

test("what the storage has that cannot be read is nothing", async (context) => {
	const server = createTestServer({ channels: [{ topic: "room:*", read: {}, write: {} }] });
	const client = createClient(server.url, server.as({ userId: "ada" }));
	context.after(() => client.close());
	for (const text of ["{torn", '"text"', "null"]) assert.deepEqual(createQueue(client, { storage: { getItem: () => text, setItem() {} } }).waiting, []);
	client.connect();
	await createQueue(client).send("room:1", "said", 1);
});
