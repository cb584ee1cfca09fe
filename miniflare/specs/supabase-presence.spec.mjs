/**
 * Supabase's clients: presence, also together with native clients, and after silent disconnects.
 */
import assert from "node:assert/strict";
import { after } from "node:test";
import { subscribe, unread } from "../fixture.mjs";
import { OLD, RECENT, startSupabase, withDeploys } from "../supabase.mjs";
import { ALONE, behaviour } from "../supabase_matrix.mjs";

const server = await startSupabase();
after(() => server.dispose());

const on = ["sync", "join", "leave"].map((event) => ["presence", { event }, event]);

/** A person's channel with presence, with a key. */
function present(person, key, topic = "lobby") {
	return person.room(topic, { config: { presence: { key } }, on });
}

/** The tested client, the oldest and the newest, in one room, each with its name as the key. */
async function gather(tenant) {
	const people = [tenant.person("ann"), tenant.person("old", { client: OLD }), tenant.person("new", { client: RECENT })];
	const rooms = people.map((person, index) => present(person, ["ann", "old", "new"][index]));
	for (const room of rooms) await room.join();
	return rooms;
}

behaviour(server, "presence: the roster after every join, even an empty one", async (tenant) => {
	const ann = await present(tenant.person("ann"), "ann").join();
	await ann.next(({ handler }) => handler === "sync");
	assert.deepEqual(ann.presence(), {});
	assert.equal(await ann.channel.track({ at: "desk" }), "ok");
	await ann.shows({ ann: [{ at: "desk" }] });
	const ben = await present(tenant.person("ben"), "ben").join();
	await ben.shows({ ann: [{ at: "desk" }] });
});

behaviour(server, "presence: track, update, untrack", async (tenant) => {
	const rooms = await gather(tenant);
	const [ann] = rooms;
	assert.equal(await ann.channel.track({ at: "desk" }), "ok");
	for (const room of rooms) await room.shows({ ann: [{ at: "desk" }] });
	assert.equal(await ann.channel.track({ at: "door" }), "ok");
	for (const room of rooms) await room.shows({ ann: [{ at: "door" }] });
	assert.equal(await ann.channel.untrack(), "ok");
	for (const room of rooms) await room.shows({});
	for (const room of rooms) {
		const leaves = room.events.items.filter(({ handler }) => handler === "leave").map(({ payload }) => payload.key);
		assert.deepEqual([...new Set(leaves)], ["ann"]);
	}
});

behaviour(server, "presence: a join and a leave are sent once, with their references", async (tenant) => {
	const [ann, ...others] = await gather(tenant);
	for (const room of others) await room.unread();
	await ann.channel.track({ at: "desk" });
	for (const room of others) await room.shows({ ann: [{ at: "desk" }] });
	await ann.channel.untrack();
	for (const room of others) {
		await room.shows({});
		const told = (await room.unread()).filter(({ handler }) => handler !== "sync");
		assert.deepEqual(told.map(({ handler, payload }) => [handler, payload.key]), [["join", "ann"], ["leave", "ann"]]);
		const [joined, left] = [told[0].payload.newPresences, told[1].payload.leftPresences];
		assert.ok(joined[0].presence_ref);
		assert.deepEqual([joined.length, left], [1, joined]);
	}
});

behaviour(server, "presence: several members under one key", async (tenant) => {
	const [first, second] = [tenant.person("ann"), tenant.person("ann")].map((person) => present(person, "ann"));
	const rooms = [await first.join(), await second.join()];
	await first.channel.track({ device: "phone" });
	await second.channel.track({ device: "desk" });
	for (const room of rooms) await room.shows({ ann: [{ device: "phone" }, { device: "desk" }] });
	await second.leave();
	await first.shows({ ann: [{ device: "phone" }] });
});

behaviour(server, "presence: the server generates a missing key", async (tenant) => {
	const rooms = [tenant.person("ann"), tenant.person("ben")].map((person) => present(person, ""));
	for (const room of rooms) await room.join();
	for (const room of rooms) assert.equal(await room.channel.track({ a: 1 }), "ok");
	await rooms[0].events.until(() => Object.keys(rooms[0].presence()).length === 2);
	for (const key of Object.keys(rooms[0].presence())) assert.match(key, /^[0-9a-f-]{36}\.\d+$/);
});

behaviour(server, "presence: a client that disconnects leaves", async (tenant) => {
	const ann = tenant.person("ann");
	const there = await present(ann, "ann").join();
	const others = [OLD, RECENT].map((client) => present(tenant.person("ben", { client }), "ben"));
	for (const room of others) await room.join();
	await there.channel.track({ a: 1 });
	for (const room of others) await room.shows({ ann: [{ a: 1 }] });
	await ann.close();
	for (const room of others) await room.shows({});
});

const ghosts = async (tenant, redeploy) => {
	const [ann, ben] = [tenant.person("ann"), tenant.person("ben")];
	const [there, back] = [await present(ann, "ann").join(), await present(ben, "ben").join()];
	for (const room of [there, back]) await room.channel.track({ a: 1 });
	for (const room of [there, back]) await room.shows({ ann: [{ a: 1 }], ben: [{ a: 1 }] });
	// Both lose the object, and only one reconnects.
	const away = ann.socket.closed.then(() => ann.realtime.disconnect());
	await Promise.all([away, redeploy()]);
	await back.rejoined();
	await back.channel.track({ a: 2 });
	await back.shows({ ben: [{ a: 2 }] });
	const late = await present(tenant.person("cem"), "cem").join();
	await late.shows({ ben: [{ a: 2 }] });
};
behaviour(null, "presence: no ghost after a deploy", (_, client) => withDeploys(client, ghosts), ALONE);

behaviour(server, "presence: shared with native clients", async (tenant) => {
	const native = await tenant.native("nat");
	await subscribe(native, "p", { topic: "lobby", private: false, presence: true });
	await unread(native);
	const room = await present(tenant.person("ann"), "ann").join();
	await room.channel.track({ at: "desk" });
	const joined = await native.next(({ type }) => type === "presence_join");
	assert.deepEqual([joined.user_id, joined.metadata], ["ann", { at: "desk" }]);
	native.send({ type: "presence_track", topic: "lobby", private: false, metadata: { at: "door" } });
	await room.events.until(() => Object.values(room.presence()).flat().some(({ at }) => at === "door"));
	await room.channel.untrack();
	const left = await native.next(({ type }) => type === "presence_leave");
	assert.equal(left.client_id, joined.client_id);
	native.send({ type: "presence_untrack", topic: "lobby", private: false });
	await room.shows({});
});

behaviour(server, "presence: tracked without a presence handler", async (tenant) => {
	const ann = await tenant.person("ann").room("lobby").join();
	const ben = await present(tenant.person("ben"), "ben").join();
	assert.equal(await ann.channel.track({ a: 1 }), "ok");
	await ben.events.until(() => Object.keys(ben.presence()).length === 1);
	assert.deepEqual(Object.values(ben.presence()), [[{ a: 1 }]]);
});
