/** Broadcasts, topics and presence. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { broadcast, broken, insert, next, ORGANIZATION, publish, record, startRig, state, token } from "./client-rig.mjs";

const { server, open } = await startRig();

const as = (sub, roles = ["member"]) => ({ getToken: () => token({ sub, roles }) });
const names = (members) => members.map(({ metadata }) => metadata.name).sort().join();

test("broadcasts go to their events, and those of a topic to the topic only", async (t) => {
	const one = open(t);
	const [started, all, room, other] = Array.from({ length: 4 }, record);
	one.on.broadcast("extraction:started", started.handler);
	one.on.broadcast("*", all.handler);
	await Promise.all([one.topic("room:1").on("*", room.handler).ready, one.topic("room:2").on("*", other.handler).ready]);
	const messages = [broadcast("extraction:started", { id: 1 }), broadcast("extraction:done", null), broadcast("x", 1, { topic: "room:1" })];
	await publish(server.url, ...messages, broadcast("end", 1), broadcast("end", 2, { topic: "room:2" }));
	await Promise.all([all.count(3), other.count(1)]);
	assert.deepEqual(started.all.map(({ payload }) => payload), [{ id: 1 }]);
	assert.deepEqual(all.all.map(({ event }) => event), ["extraction:started", "extraction:done", "end"]);
	assert.deepEqual(room.all.map(({ event, topic }) => [event, topic]), [["x", "room:1"]]);
});

test("changes published to a topic come to those who entered it", async (t) => {
	const one = open(t);
	const heard = record();
	await one.on("claims", "*", heard.handler).ready;
	await publish(server.url, insert("claims", { n: 1 }, { topic: "room:1" }), insert("claims", { n: 2 }));
	await heard.count(1);
	await one.topic("room:1").on("*", () => {}).ready;
	await publish(server.url, insert("claims", { n: 3 }, { topic: "room:1" }));
	await heard.count(2);
	assert.deepEqual(heard.all.map((change) => change.new.n), [2, 3]);
});

test("sending to a topic: acknowledged, with or without an echo, as the policies allow", async (t) => {
	const [ada, bob, guest] = [open(t, as("ada")), open(t, as("bob")), open(t, as("guest", ["guest"]))];
	const [atAda, atBob] = [record(), record()];
	await Promise.all([
		ada.topic("room:1").on("cursor", atAda.handler).ready,
		bob.topic("room:1").on("cursor", atBob.handler).ready,
		guest.topic("room:1").on("cursor", () => {}).ready,
	]);
	await ada.topic("room:1").send("cursor", { x: 1 });
	await ada.topic("room:1").send("cursor", { x: 2 }, { echo: false });
	await bob.topic("room:1").send("cursor", { x: 3 });
	await Promise.all([atBob.count(3), atAda.count(2)]);
	assert.deepEqual(atAda.all.map(({ payload }) => payload.x), [1, 3]);
	await assert.rejects(guest.topic("room:1").send("cursor", {}), { code: "forbidden" });
	ada.on.error(() => {});
	await assert.rejects(ada.topic("secret").on("*", () => {}).ready, { code: "forbidden" });
	ada.close();
	await assert.rejects(ada.topic("room:1").send("cursor", {}), { code: "disconnected" });
});

test("what was sent when the connection ended is refused, not left open", async (t) => {
	const one = open(t);
	one.connect();
	await state(one, "connected");
	const sending = one.topic("room:1").send("cursor", {});
	one.close();
	await assert.rejects(sending, { code: "disconnected" });
});

test("a public topic is open to all; one name is in one space", async (t) => {
	const one = open(t);
	const heard = record();
	const hall = one.topic("hall", { private: false });
	await hall.on("hello", heard.handler).ready;
	await hall.send("hello", 1);
	await heard.count(1);
	assert.equal(one.topic("hall", { private: false }), hall);
	assert.throws(() => one.topic("hall"), TypeError);
});

test("presence in a topic: seen from outside and from inside, updated, left", async (t) => {
	const [ada, bob, watcher] = [open(t, as("ada")), open(t, as("bob")), open(t, as("eve"))];
	const seen = record();
	const watching = watcher.topic("room:9").presence.on((members) => seen.handler(names(members)));
	await watching.ready;
	ada.topic("room:9").presence.track({ name: "Ada" });
	ada.topic("room:9").presence.track({ name: "Ada!" });
	await seen.count(2);
	bob.topic("room:9").presence.track({ name: "Bob" });
	await seen.count(3);
	ada.topic("room:9").presence.track({ name: "Ada?" });
	await seen.count(4);
	ada.topic("room:9").presence.untrack();
	await seen.count(5);
	assert.deepEqual(seen.all, ["", "Ada!", "Ada!,Bob", "Ada?,Bob", "Bob"]);
	assert.equal(watcher.topic("room:9").presence.members[0].user_id, "bob");
	watching.off();
	await watcher.on("barrier", "*", () => {}).ready;
	assert.deepEqual(watcher.topic("room:9").presence.members, []);
});

test("a reconnect brings the presences back, and forgets those who left meanwhile", async (t) => {
	const [ada, bob] = [open(t, as("ada")), open(t, as("bob"))];
	for (const [one, name] of [[ada, "Ada"], [bob, "Bob"]]) one.presence.track({ name });
	const isFull = (members) => names(members) === "Ada,Bob";
	if (!isFull(ada.presence.members)) await next((handler) => ada.presence.on(handler), isFull);
	ada.close();
	bob.presence.untrack();
	await bob.on("barrier", "*", () => {}).ready;
	ada.connect();
	await next((handler) => ada.presence.on(handler), (members) => names(members) === "Ada");
	await broken(ada, () => server.evict(ORGANIZATION, "close"));
	await next((handler) => ada.presence.on(handler), (members) => names(members) === "Ada");
	assert.equal(ada.presence.members.length, 1);
});
