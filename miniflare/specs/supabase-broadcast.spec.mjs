/**
 * Supabase's clients: broadcasts, between both protocols and native subscribers.
 */
import assert from "node:assert/strict";
import { after } from "node:test";
import { subscribe, unread } from "../fixture.mjs";
import { isOldProtocol, OLD, RECENT, startSupabase } from "../supabase.mjs";
import { behaviour } from "../supabase_matrix.mjs";

const server = await startSupabase();
after(() => server.dispose());

/** A sender with the tested client, and subscribers with the oldest and the newest, all in one room. */
async function gather(tenant, topic, config) {
	const [sender, old, recent] = [tenant.person("ann"), tenant.person("old", { client: OLD }), tenant.person("new", { client: RECENT })];
	const rooms = [sender.room(topic, { config }), old.room(topic), recent.room(topic)];
	for (const room of rooms) await room.join();
	return rooms;
}

/** A native subscriber of a public topic. */
async function listen(tenant, topic) {
	const native = await tenant.native("nat");
	await subscribe(native, "s", { topic, private: false });
	return native;
}

behaviour(server, "broadcast to 1.0.0, 2.0.0 and native subscribers, except the sender", async (tenant) => {
	const [sender, ...listeners] = await gather(tenant, "lobby");
	const native = await listen(tenant, "lobby");
	const payload = { x: 1, text: "é😀", nested: { list: [null, 1.5, "\u0000"] } };
	assert.equal(await sender.send("cursor", payload), "ok");
	for (const room of listeners) assert.deepEqual(await room.heard(), ["cursor", payload]);
	assert.deepEqual(await native.next(), { type: "broadcast", event: "cursor", payload, topic: "lobby" });
	assert.deepEqual(await sender.unread(), []);
	for (const room of listeners) assert.deepEqual(await room.unread(), []);
});

behaviour(server, "broadcasts from native clients", async (tenant) => {
	const rooms = await gather(tenant, "lobby");
	const native = await listen(tenant, "lobby");
	native.send({ type: "broadcast", topic: "lobby", private: false, event: "back", payload: { y: [2] }, echo: false });
	for (const room of rooms) assert.deepEqual((await room.heard()), ["back", { y: [2] }]);
	for (const room of rooms) assert.deepEqual(await room.unread(), []);
	assert.deepEqual(await unread(native), []);
});

behaviour(server, "self: the sender receives its own message, once", async (tenant) => {
	const [sender, ...listeners] = await gather(tenant, "lobby", { broadcast: { self: true } });
	await sender.send("cursor", { x: 1 });
	for (const room of [sender, ...listeners]) {
		assert.deepEqual(await room.heard(), ["cursor", { x: 1 }]);
		assert.deepEqual(await room.unread(), []);
	}
});

behaviour(server, "ack: a broadcast is acknowledged only if requested", async (tenant) => {
	const ann = tenant.person("ann");
	const sure = await ann.room("sure", { config: { broadcast: { ack: true } } }).join();
	const quiet = await ann.room("quiet").join();
	const replies = () => ann.socket.received.items.filter(({ event, topic }) => event === "phx_reply" && topic === "realtime:quiet").length;
	assert.equal(await sure.send("a", {}), "ok");
	const before = replies();
	assert.equal(await quiet.send("a", {}), "ok");
	await ann.sync();
	assert.equal(replies(), before);
});

behaviour(server, "ack: a payload that is too large is an error", async (tenant) => {
	const [sender, ...listeners] = await gather(tenant, "lobby", { broadcast: { ack: true } });
	assert.equal(await sender.send("big", { text: "x".repeat(100_000) }), "error");
	assert.equal(await sender.send("small", {}), "ok");
	for (const room of listeners) assert.deepEqual(await room.heard(), ["small", {}]);
});

behaviour(
	server,
	"raw bytes, to 2.0.0 and native subscribers",
	async (tenant) => {
		const [sender, old, recent] = await gather(tenant, "lobby", { broadcast: { ack: true, self: true } });
		const native = await listen(tenant, "lobby");
		const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
		assert.equal(await sender.send("pixels", bytes.buffer), "ok");
		for (const room of [sender, recent]) {
			const [event, payload] = await room.heard();
			assert.deepEqual([event, new Uint8Array(payload)], ["pixels", bytes]);
		}
		const frame = await native.next();
		assert.deepEqual([frame.event, frame.encoding], ["pixels", "base64"]);
		assert.deepEqual(Buffer.from(frame.payload, "base64"), Buffer.from(bytes));
		assert.deepEqual(await old.unread(), []);
	},
	{ lacks: isOldProtocol },
);

behaviour(server, "topics and events beyond ASCII", async (tenant) => {
	const [sender, ...listeners] = await gather(tenant, "café:é", { broadcast: { ack: true } });
	assert.equal(await sender.send("grüße", { x: "日本" }), "ok");
	for (const room of listeners) assert.deepEqual(await room.heard(), ["grüße", { x: "日本" }]);
	await tenant.say("café:é", "日本", {});
	for (const room of [sender, ...listeners]) assert.deepEqual(await room.heard(), ["日本", {}]);
});

behaviour(server, "handlers by event, in any case", async (tenant) => {
	const ann = tenant.person("ann");
	const on = [["broadcast", { event: "Cursor-Pos" }, "one"], ["broadcast", { event: "*" }, "all"]];
	const room = await ann.room("lobby", { on }).join();
	await tenant.say("lobby", "CURSOR-POS", {});
	await tenant.say("lobby", "other", {});
	assert.deepEqual((await room.unread()).map(({ handler }) => handler).sort(), ["all", "all", "one"]);
});

behaviour(
	server,
	"other keys of a message arrive unchanged",
	async (tenant) => {
		const [sender, ...listeners] = await gather(tenant, "lobby");
		const message = { type: "broadcast", event: "cursor", payload: { x: 1 }, sent_at: 1.5, trace: { ids: ["é"] } };
		assert.equal(await sender.channel.send(message), "ok");
		for (const room of listeners) assert.deepEqual((await room.next()).payload, message);
	},
	// A binary frame has no place for it.
	{ lacks: (client) => !isOldProtocol(client) },
);

behaviour(server, "public and private topics of the same name are separate", async (tenant) => {
	const [inside, outside] = [tenant.person("in"), tenant.person("out")];
	const closed = await inside.room("room:1", { config: { private: true } }).join();
	const open = await outside.room("room:1").join();
	await closed.send("secret", {});
	await open.send("public", {});
	await tenant.say("room:1", "server public", {});
	await tenant.say("room:1", "server private", {}, { private: true });
	const events = async (room) => (await room.unread()).map(({ payload }) => payload.event);
	assert.deepEqual([await events(closed), await events(open)], [["server private"], ["server public"]]);
});

behaviour(server, "the API worker's publications, in order", async (tenant) => {
	const rooms = await gather(tenant, "lobby");
	const messages = Array.from({ length: 20 }, (_, n) => ({ type: "broadcast", topic: "lobby", private: false, event: "count", payload: { n } }));
	await tenant.publish({ messages });
	for (const room of rooms) {
		assert.deepEqual((await room.unread()).map(({ payload }) => payload.payload.n), messages.map((_, n) => n));
	}
	// So are the channels of one socket, in whatever order they were joined.
	const ann = tenant.person("ann");
	for (const topic of ["c", "a", "b"]) await ann.room(topic).join();
	const topics = ["a", "b", "c", "a"];
	await tenant.publish({ messages: topics.map((topic) => ({ ...messages[0], topic })) });
	await ann.sync();
	const broadcasts = ann.socket.received.items.filter(({ event }) => event === "broadcast");
	assert.deepEqual(broadcasts.map(({ topic }) => topic), topics.map((topic) => `realtime:${topic}`));
});
