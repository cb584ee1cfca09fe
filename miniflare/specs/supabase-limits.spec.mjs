/**
 * Supabase's clients: what happens to those that request too much, and to those that are refused.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { connect } from "../client.mjs";
import { anonKey, startSupabase, Tenant } from "../supabase.mjs";
import { behaviour } from "../supabase_matrix.mjs";

const server = await startSupabase({ limits: { joinsPerSecond: 5 } });
after(() => server.dispose());
const slow = await startSupabase({ limits: { framesPerSecond: 5 } });
after(() => slow.dispose());
const full = await startSupabase({ limits: { connections: 1 } });
after(() => full.dispose());

const on = [["broadcast", { event: "*" }], ["system", {}]];

/** A frame that a client sends to join a channel. */
function joinFrame(vsn, topic, ref) {
	const [event, payload] = ["phx_join", { config: {} }];
	return JSON.stringify(vsn === "1.0.0" ? { topic, event, payload, ref, join_ref: ref } : [ref, ref, topic, event, payload]);
}

behaviour(slow, "a channel that floods is closed with its reason, and no other channel of its socket", async (tenant) => {
	const ada = tenant.person("ada");
	const [other, room] = [await ada.room("other", { on }).join(), await ada.room("lobby", { on }).join()];
	for (let n = 0; n < 40; n += 1) room.send("flood", { n });
	const { payload } = await room.next(({ handler }) => handler === "system");
	assert.deepEqual(
		[payload.status, payload.extension, payload.channel, payload.message],
		["error", "system", "lobby", "Too many messages per second"],
	);
	assert.equal((await room.statuses.next()).status, "CLOSED");
	await tenant.say("other", "still", {});
	assert.deepEqual(await other.heard(), ["still", {}]);
	assert.deepEqual([other.statuses.unread(), ada.sockets.length], [[], 1]);
});

behaviour(server, "reconnects after a close by the server, without duplicates", async (tenant, client) => {
	const ada = tenant.person("ada");
	const since = Date.now() - 1_000;
	const room = await ada.room("lobby").join();
	const kept = await ada.room("kept:1", { config: { private: true, broadcast: { replay: { since } } } }).join();
	const say = async (n) => {
		await tenant.say("lobby", "count", { n });
		await tenant.say("kept:1", "count", { n }, { private: true });
	};
	await say(1);
	assert.deepEqual([await room.heard(), await kept.heard()], [["count", { n: 1 }], ["count", { n: 1 }]]);
	const first = ada.socket;
	// More joins at once than allowed, by hand, because no client does that.
	for (let n = 0; n < 12; n += 1) WebSocket.prototype.send.call(first, joinFrame(client.vsn, `realtime:by-hand-${n}`, `hand-${n}`));
	const error = await first.received.find(({ payload }) => payload?.status === "error");
	assert.deepEqual(error.payload.response, { reason: "ClientJoinRateLimitReached: Too many joins per second" });
	assert.equal(await first.closed, 1001);
	await Promise.all([room.rejoined(), kept.rejoined()]);
	await say(2);
	assert.deepEqual((await room.unread()).map(({ payload }) => payload.payload.n), [2]);
	// A repeated replay has the same id as before.
	const ids = new Map([...kept.events.items, ...(await kept.unread())].map(({ payload }) => [payload.meta.id, payload.payload.n]));
	assert.deepEqual([...ids.values()], [1, 2]);
	assert.equal(ada.sockets.length, 2);
});

behaviour(full, "a full organization rejects a client, which connects once there is room", async (tenant) => {
	const first = await tenant.native("nat");
	const room = tenant.person("ada").room("lobby");
	assert.equal((await room.subscribe()).status, "CHANNEL_ERROR");
	assert.equal((await tenant.stats()).connections, 1);
	await first.close();
	await room.rejoined();
	await tenant.say("lobby", "hello", {});
	assert.deepEqual(await room.heard(), ["hello", {}]);
});

test("who floods with joins loses the socket, and nobody else anything", async () => {
	const tenant = new Tenant(server);
	const room = await tenant.person("ada").room("lobby").join();
	const mallory = await connect(`${server.url}/realtime/v1/websocket?apikey=${anonKey(tenant.organizationId)}&vsn=2.0.0`);
	// More than a slow machine sends while the bucket refills.
	for (let n = 1; n <= 50; n += 1) mallory.send(joinFrame("2.0.0", `realtime:${n}`, `${n}`));
	const refused = await mallory.next(([, , , , payload]) => payload.status === "error");
	assert.deepEqual([refused[1] > 10, refused[4].response.reason], [true, "ClientJoinRateLimitReached: Too many joins per second"]);
	assert.deepEqual(await mallory.closed, { code: 1001, reason: "join_limit" });
	await tenant.say("lobby", "hello", {});
	assert.deepEqual(await room.heard(), ["hello", {}]);
	await tenant.close();
});
