/**
 * Supabase's clients: replay of messages from before the join.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { isOldProtocol, OLD, startSupabase, Tenant } from "../supabase.mjs";
import { behaviour } from "../supabase_matrix.mjs";

const server = await startSupabase();
after(() => server.dispose());

const secret = { private: true };
const replaying = (replay) => ({ config: { ...secret, broadcast: { self: true, replay } } });
/** The messages, and whether they were replayed. */
const told = (events) => events.map(({ payload: { event, payload, meta } }) => [event, payload, meta?.replayed ?? false]);

behaviour(server, "replay: earlier messages, oldest first and marked, then live ones", async (tenant) => {
	const since = Date.now() - 1_000;
	for (const n of [1, 2, 3]) await tenant.say("kept:1", "count", { n }, secret);
	await tenant.say("kept:2", "elsewhere", {}, secret);
	const room = await tenant.person("ada").room("kept:1", replaying({ since })).join();
	await tenant.say("kept:1", "count", { n: 4 }, secret);
	const events = await room.unread();
	assert.deepEqual(told(events), [1, 2, 3, 4].map((n) => ["count", { n }, n < 4]));
	const ids = events.slice(0, 3).map(({ payload }) => payload.meta.id);
	assert.ok(ids.every((id) => typeof id === "string" && id !== "") && new Set(ids).size === 3, JSON.stringify(ids));
});

behaviour(server, "replay: at most the requested number, the newest ones", async (tenant) => {
	const since = Date.now() - 1_000;
	for (let n = 1; n <= 30; n += 1) await tenant.say("kept:1", "count", { n }, secret);
	const counts = async (replay) => {
		const room = await tenant.person("ada").room("kept:1", replaying(replay)).join();
		return (await room.unread()).map(({ payload }) => payload.payload.n);
	};
	assert.deepEqual(await counts({ since, limit: 2 }), [29, 30]);
	assert.deepEqual(await counts({ since, limit: 1_000 }), Array.from({ length: 25 }, (_, index) => index + 6));
	assert.deepEqual(await counts({ since: Date.now() + 60_000 }), []);
});

behaviour(server, "replay: client messages to a topic with history", async (tenant) => {
	const since = Date.now() - 1_000;
	const ann = await tenant.person("ann").room("kept:1", { config: { ...secret, broadcast: { ack: true } } }).join();
	assert.equal(await ann.send("hello", { n: 1 }), "ok");
	const room = await tenant.person("ben").room("kept:1", replaying({ since })).join();
	assert.deepEqual(told(await room.unread()), [["hello", { n: 1 }, true]]);
});

behaviour(server, "replay: raw bytes, to 2.0.0 only", async (tenant, client) => {
	const since = Date.now() - 1_000;
	await tenant.say("kept:1", "before", {}, secret);
	await tenant.say("kept:1", "pixels", Buffer.of(0, 1, 255).toString("base64"), { ...secret, encoding: "base64" });
	const room = await tenant.person("ada").room("kept:1", replaying({ since })).join();
	const events = await room.unread();
	assert.deepEqual(events.map(({ payload }) => payload.event), isOldProtocol(client) ? ["before"] : ["before", "pixels"]);
	if (isOldProtocol(client)) return;
	const { payload, meta } = events[1].payload;
	assert.deepEqual([[...new Uint8Array(payload)], meta.replayed, typeof meta.id], [[0, 1, 255], true, "string"]);
});

behaviour(server, "replay: at every join, even after a lost connection", async (tenant) => {
	const since = Date.now() - 1_000;
	await tenant.say("kept:1", "count", { n: 1 }, secret);
	const ada = tenant.person("ada");
	const room = await ada.room("kept:1", replaying({ since })).join();
	assert.deepEqual(told(await room.unread()), [["count", { n: 1 }, true]]);
	ada.socket.close(4_000, "the link is lost");
	await tenant.say("kept:1", "count", { n: 2 }, secret);
	await room.rejoined();
	const counts = (await room.unread()).map(({ payload }) => payload.payload.n);
	assert.deepEqual([...new Set(counts)].sort(), [1, 2]);
});

const isNewest = ({ name }) => name.includes("2.119.0");

behaviour(
	server,
	"persist: retained with an id that a replay repeats, or refused with the reason",
	async (tenant) => {
		const since = Date.now() - 1_000;
		const config = { ...secret, broadcast: { ack: true } };
		const ann = tenant.person("ann");
		const [kept, room] = [await ann.room("kept:1", { config }).join(), await ann.room("room:1", { config }).join()];
		const send = (room, n, persist) => room.channel.send({ type: "broadcast", event: "count", payload: { n }, persist });
		assert.deepEqual([await send(kept, 1, true), await send(kept, 2, { ttl: 60 })], ["ok", "ok"]);
		assert.deepEqual([await send(kept, 3, { ttl: 0 }), await send(room, 4, true)], ["invalid_persist_ttl", "unauthorized"]);
		const ids = ann.socket.received.items.map(({ payload }) => payload?.response?.id).filter((id) => id !== undefined);
		const replayed = await (await tenant.person("ben").room("kept:1", replaying({ since })).join()).unread();
		assert.deepEqual(told(replayed), [1, 2].map((n) => ["count", { n }, true]));
		assert.deepEqual(replayed.map(({ payload }) => payload.meta.id), ids);
	},
	// Clients of version 1.0.0 refuse it themselves.
	{ lacks: (client) => !isNewest(client) || isOldProtocol(client) },
);

behaviour(
	server,
	"persist: httpSend(), retained or refused with the reason",
	async (tenant) => {
		const since = Date.now() - 1_000;
		const ann = tenant.person("ann");
		await ann.ready;
		const [kept, room] = ["kept:1", "room:1"].map((topic) => ann.room(topic, { config: secret }).channel);
		for (const [n, persist] of [[1, true], [2, { ttl: 259_200 }]]) {
			assert.deepEqual(await kept.httpSend("count", { n }, { persist }), { success: true });
		}
		await assert.rejects(kept.httpSend("count", { n: 3 }, { persist: { ttl: 259_201 } }), { message: "invalid_persist_ttl" });
		await assert.rejects(room.httpSend("count", { n: 4 }, { persist: true }), { message: "Unauthorized" });
		const replayed = await tenant.person("ben").room("kept:1", replaying({ since })).join();
		assert.deepEqual(told(await replayed.unread()), [1, 2].map((n) => ["count", { n }, true]));
	},
	{ lacks: (client) => !isNewest(client) },
);

test("there is no replay of public channels", async () => {
	// The newer clients refuse it themselves.
	const tenant = new Tenant(server, OLD);
	const { status, error } = await tenant.person("ada").room("kept:1", { config: { broadcast: { replay: { since: 1 } } } }).subscribe();
	assert.equal(status, "CHANNEL_ERROR");
	assert.match(error.message, /UnableToReplayMessages: Replay is not allowed for public channels/);
	await tenant.close();
});
