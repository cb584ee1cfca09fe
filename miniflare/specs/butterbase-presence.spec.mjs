/**
 * Butterbase's clients: presence among tracked clients and across dialects, and what survives of sockets, subscriptions
 * and presences after a hibernation and a crash.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { APP, ButterbaseClient, change, deploy, userToken } from "../butterbase.mjs";
import { join } from "../fixture.mjs";

const server = await deploy({ tables: { messages: {} }, butterbase: { tables: ["*"], public: ["*"] } });
after(() => server.dispose());

const connected = (user) => ButterbaseClient.connect(server, { token: userToken(user) });

test("presence is among those who are tracked, in every dialect, whole and without oneself", async () => {
	const [ann, ben, watcher] = [await connected("ann"), await connected("ben"), await connected("cat")];
	assert.deepEqual((await ann.track({ name: "Ann" })).clients, []);
	const { clients } = await ben.track({ name: "Ben", cursor: { x: 1 } });
	assert.deepEqual(clients.map(({ user_id: user, metadata }) => [user, metadata]), [["ann", { name: "Ann" }]]);
	await ann.until(() => ann.of("presence_join").length === 1);
	const [{ client_id: id, ...joined }] = ann.of("presence_join");
	assert.deepEqual(joined, { type: "presence_join", user_id: "ben", metadata: { name: "Ben", cursor: { x: 1 } } });
	assert.match(id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
	ben.send({ type: "presence_update", metadata: { name: "Ben" } });
	await ann.until(() => ann.of("presence_update").length === 1);
	assert.deepEqual(ann.of("presence_update"), [{ type: "presence_update", client_id: id, metadata: { name: "Ben" } }]);
	watcher.send({ type: "presence_update", metadata: {} });
	const native = await join(server, "nat", [], { organizationId: APP });
	native.send({ type: "presence_track", metadata: { name: "Nat" } });
	await ann.until(() => Object.keys(ann.present).length === 2);
	assert.deepEqual(ann.of("presence_join").at(-1).user_id, "nat");
	assert.deepEqual(Object.values(ann.present), [{ name: "Ben" }, { name: "Nat" }]);
	await ben.close();
	await ann.until(() => ann.of("presence_leave").length === 1);
	assert.deepEqual(ann.of("presence_leave"), [{ type: "presence_leave", client_id: id, user_id: "ben" }]);
	await watcher.settled();
	const kinds = watcher.frames.map(({ type }) => type);
	assert.deepEqual(kinds.filter((type) => type.startsWith("presence_")), [], "who is not tracked hears of nobody");
	await ann.close();
	await native.next(({ type, user_id: user }) => type === "presence_leave" && user === "ann");
	await Promise.all([watcher, native].map((client) => client.close()));
});

test("everything stands across a sleep, and comes back after a crash", async () => {
	// One after the other: an object at which two sockets open at the same moment cannot be evicted.
	const [ann, ben] = [await connected("ann"), await connected("ben")];
	await ann.subscribe("messages", { filter: { room: 1 } });
	await ann.track({ name: "Ann" });
	await ben.track({ name: "Ben" });
	await ann.until(() => Object.keys(ann.present).length === 1);
	const tell = (id, room = 1) => change(server, "messages", "INSERT", { new: { id, room } });
	await server.evict(APP, "hibernate");
	await tell(1);
	await tell(2, 2);
	await ann.until(() => ann.changes.length === 1);
	await server.evict(APP, "hibernate");
	ben.send({ type: "presence_update", metadata: { name: "Benny" } });
	await ann.until(() => ann.of("presence_update").length === 1);
	assert.deepEqual([ann.connected, ben.connected], [1, 1], "a sleep closes nothing");
	await server.evict(APP, "close");
	for (const client of [ann, ben]) await client.until(() => client.connected === 2);
	await ann.until(() => ann.of("subscribed").length === 2);
	await ann.until(() => Object.keys(ann.present).length === 1);
	await ben.until(() => Object.keys(ben.present).length === 1);
	assert.deepEqual([Object.values(ann.present), Object.values(ben.present)], [[{ name: "Ben" }], [{ name: "Ann" }]], "once each");
	await tell(3, 2);
	await tell(4);
	await ann.until(() => ann.changes.length === 2);
	assert.deepEqual(ann.changes.map(({ record }) => record.id), [1, 4]);
	assert.deepEqual(ann.closes.map(({ code }) => code), [1006]);
	await Promise.all([ann.close(), ben.close()]);
});

test("who asks for positions misses nothing across a crash, and is told of a gap", async () => {
	const client = await ButterbaseClient.connect(server, { token: userToken("ann"), recover: true });
	const [{ epoch, offset }] = client.of("connected");
	await client.subscribe("messages");
	const tell = (id) => change(server, "messages", "INSERT", { new: { id } });
	await tell(1);
	await client.until(() => client.changes.length === 1);
	assert.ok(client.changes[0].offset > offset);
	await server.evict(APP, "close");
	await tell(2);
	await tell(3);
	await client.until(() => client.connected === 2);
	const recover = { epoch, offset: client.changes[0].offset };
	await client.until(() => client.of("subscribed").length === 2);
	const before = client.changes.length;
	assert.equal((await client.ask({ type: "subscribe", table: "messages", recover }, "subscribed")).recovered, true);
	await client.settled();
	assert.deepEqual(client.changes.slice(before).map(({ record }) => record.id), [2, 3]);
	const gap = await client.ask({ type: "subscribe", table: "messages", recover: { epoch: "another", offset: 1 } }, "subscribed");
	assert.equal(gap.recovered, false);
	await client.close();
});
