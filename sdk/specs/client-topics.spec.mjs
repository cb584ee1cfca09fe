/** Broadcasts, topics and presence. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { broadcast, broken, fakeSurroundings, insert, next, ORGANIZATION, publish, record, recordingSocket, startRig, state, token } from "./client-rig.mjs";

const { server, open } = await startRig({
	channels: [
		{ topic: "room:*", read: {}, write: { roles: ["member"] }, presence: {} },
		{ topic: "quiet:*", read: {}, presence: { roles: ["admin"] } },
		{ topic: "staff:*", read: {}, presence: { roles: ["member"] } },
	],
});

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

test("a topic and its presence take one place, whoever comes or goes first", async (t) => {
	const { WebSocket, sent } = recordingSocket();
	const one = open(t, { WebSocket });
	const room = one.topic("room:7");
	const heard = record();
	const messages = room.on("*", ({ payload }) => heard.handler(payload));
	await messages.ready;
	const asked = () => sent.filter(({ type, topic }) => type === "subscribe" && topic).length;
	const ended = () => sent.filter(({ type }) => type === "unsubscribe").length;
	const hears = async (payload) => {
		await publish(server.url, broadcast("x", payload, { topic: "room:7" }));
		await heard.count(payload);
	};
	await hears(1);
	const watching = room.presence.on(() => {});
	await watching.ready;
	await hears(2);
	assert.deepEqual([asked(), ended()], [1, 1], "the one takes over from the other");
	watching.off();
	await one.on("barrier", "*", () => {}).ready;
	await hears(3);
	assert.deepEqual([asked(), ended()], [2, 2]);
	assert.deepEqual(heard.all, [1, 2, 3]);

	const other = open(t, { WebSocket });
	const both = other.topic("room:8");
	await Promise.all([both.on("*", () => {}).ready, both.presence.on(() => {}).ready]);
	await broken(other, () => server.evict(ORGANIZATION, "close"));
	await state(other, "connected");
	const { subscriptions } = sent.findLast((frame) => frame.type === "auth" && frame.subscriptions.some(({ topic }) => topic === "room:8"));
	assert.deepEqual(subscriptions.filter(({ topic }) => topic).map(({ topic, presence }) => [topic, presence]), [["room:8", true]]);
});

test("where presence is not allowed, the messages come all the same", async (t) => {
	const one = open(t);
	one.on.error(() => {});
	const hall = one.topic("quiet:1");
	const heard = record();
	const messages = hall.on("*", heard.handler);
	await assert.rejects(hall.presence.on(() => {}).ready, { code: "forbidden" });
	await messages.ready;
	await publish(server.url, broadcast("x", 1, { topic: "quiet:1" }));
	await heard.count(1);
});

test("a presence that was too large is there once it is smaller", async (t) => {
	const [ada, bob] = [open(t, as("ada")), open(t, as("bob"))];
	const seen = record();
	await bob.topic("room:11").presence.on((members) => seen.handler(names(members))).ready;
	const errors = record();
	ada.on.error(errors.handler);
	const { presence } = ada.topic("room:11");
	presence.track({ name: "x".repeat(5_000) });
	await errors.count(1);
	assert.equal(errors.all[0].code, "metadata_too_large");
	presence.track({ name: "Ada" });
	await seen.count(2);
	presence.track({ name: "x".repeat(5_000) });
	await errors.count(2);
	presence.track({ name: "Ada!" });
	await seen.count(3);
	assert.deepEqual(seen.all, ["", "Ada", "Ada!"]);
});

test("a presence comes back with the role that it needs", async (t) => {
	const surroundings = fakeSurroundings();
	let roles = ["member"];
	let count = 0;
	const getToken = () => token({ sub: "ada", roles, jti: `${(count += 1)}` });
	const [ada, bob] = [open(t, { getToken, surroundings, heartbeat: { interval: 1e9 } }), open(t, as("bob"))];
	ada.on.error(() => {});
	const seen = record();
	await bob.topic("staff:1").presence.on((members) => seen.handler(names(members))).ready;
	ada.topic("staff:1").presence.track({ name: "Ada" });
	await seen.count(2);
	for (const [wanted, calls] of [[["guest"], 3], [["member"], 4]]) {
		roles = wanted;
		surroundings.pass(3_541_000);
		await seen.count(calls);
	}
	assert.deepEqual(seen.all, ["", "Ada", "", "Ada"]);
});

test("a cursor at any rate disconnects nobody, and its last place is seen", async (t) => {
	const [ada, bob] = [open(t, as("ada")), open(t, as("bob"))];
	const [errors, states, seen] = [record(), record(), record()];
	ada.on.error(errors.handler);
	await ada.topic("room:12").on("*", () => {}).ready;
	ada.on.status(({ state }) => states.handler(state));
	await bob.topic("room:12").presence.on(([member]) => member?.metadata.x === 2_000 && seen.handler(member)).ready;
	const { presence } = ada.topic("room:12");
	for (let x = 1; x <= 2_000; x += 1) {
		presence.track({ x });
		await new Promise(setImmediate);
	}
	await seen.count(1);
	await Promise.all(Array.from({ length: 250 }, (_, x) => ada.topic("room:12").send("cursor", { x }, { echo: false })));
	const sends = Array.from({ length: 1_000 }, () => ada.topic("room:12").send("cursor", {}).catch(({ code }) => code));
	ada.close();
	assert.deepEqual(new Set(await Promise.all(sends)), new Set(["disconnected", "rate_limited"]));
	assert.deepEqual([errors.all, states.all], [[], ["closed"]]);
});
