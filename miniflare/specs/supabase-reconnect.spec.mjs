/**
 * Supabase's clients: what they keep when the object hibernates, and how they reconnect when it is gone.
 */
import assert from "node:assert/strict";
import { after } from "node:test";
import { OLD, RECENT, startSupabase, withDeploys } from "../supabase.mjs";
import { ALONE, behaviour } from "../supabase_matrix.mjs";

const server = await startSupabase();
after(() => server.dispose());

const on = [
	["postgres_changes", { event: "*", schema: "public", table: "people" }],
	["broadcast", { event: "*" }],
	["presence", { event: "join" }],
];
const config = { broadcast: { ack: true }, presence: { key: "ann" } };

/** Everything that a channel can receive, each of which must arrive once. */
async function check(tenant, room, other, n) {
	await tenant.change("INSERT", "people", { id: n, ssn: "123-45-6789" });
	await tenant.say("lobby", "server", { n });
	assert.equal(await other.send("peer", { n }), "ok");
	const events = (await room.unread()).filter(({ handler }) => handler !== "presence");
	assert.deepEqual(events.map(({ payload }) => payload.new ?? payload.payload), [{ id: n, ssn: "*****6789" }, { n }, { n }]);
	assert.equal(await room.send("mine", { n }), "ok");
	assert.deepEqual((await other.unread()).map(({ payload }) => payload.event), ["server", "mine"]);
}

/** The tested client, and another one that it communicates with. */
async function gather(tenant, client) {
	const [ann, ben] = [tenant.person("ann"), tenant.person("ben", { client })];
	const room = await ann.room("lobby", { config, on }).join();
	const other = await ben.room("lobby", { config: { broadcast: { ack: true } } }).join();
	return { ann, ben, room, other };
}

behaviour(server, "hibernation between any two frames loses nothing", async (tenant, client) => {
	const { ann, room, other } = await gather(tenant, client === OLD ? RECENT : OLD);
	const sleep = () => tenant.hibernate();
	await sleep();
	await check(tenant, room, other, 1);
	await sleep();
	await ann.heartbeat();
	await ann.sync();
	await sleep();
	assert.equal(await room.channel.track({ a: 1 }), "ok");
	await sleep();
	await room.shows({ ann: [{ a: 1 }] });
	assert.equal(await room.send("awake", {}), "ok");
	await sleep();
	await ann.refresh();
	await sleep();
	await tenant.change("INSERT", "people", { id: 2, ssn: "123-45-6789" });
	await sleep();
	assert.deepEqual((await room.unread()).filter(({ payload }) => payload.new).map(({ payload }) => payload.new.id), [2]);
	await sleep();
	assert.equal(await room.leave(), "ok");
	await sleep();
	await tenant.say("lobby", "nobody", {});
	assert.deepEqual(await room.unread(), []);
	assert.deepEqual([ann.sockets.length, room.statuses.unread().map(({ status }) => status)], [1, ["CLOSED"]]);
});

const deployed = (name, body) => behaviour(null, name, (_, client) => withDeploys(client, body), ALONE);

deployed("after a deploy, each event once", async (tenant, redeploy) => {
	const { ann, ben, room, other } = await gather(tenant, RECENT);
	for (let n = 1; n <= 2; n += 1) {
		await redeploy();
		await Promise.all([room.rejoined(), other.rejoined()]);
		await Promise.all([ann.sync(), ben.sync()]);
		await Promise.all([room.unread(), other.unread()]);
		await check(tenant, room, other, n);
	}
});

deployed("after a deploy, presence as before, without ghosts", async (tenant, redeploy) => {
	const { room } = await gather(tenant, RECENT);
	await room.channel.track({ a: 1 });
	await room.shows({ ann: [{ a: 1 }] });
	await redeploy();
	await room.rejoined();
	assert.equal(await room.channel.track({ a: 2 }), "ok");
	await room.shows({ ann: [{ a: 2 }] });
});

deployed("after a deploy, with the fresh token", async (tenant, redeploy) => {
	const ann = tenant.person("ann");
	const room = await ann.room("lobby", { on }).join();
	await ann.refresh({ roles: ["hr"], role: "hr" });
	await redeploy();
	await room.rejoined();
	await ann.sync();
	await tenant.change("INSERT", "people", { id: 1, ssn: "123-45-6789" });
	assert.equal((await room.next(({ payload }) => payload.new)).payload.new.ssn, "123-45-6789");
});
