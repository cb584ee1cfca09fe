/**
 * Topics: who may subscribe and publish, and that private and public topics are separate.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { insert, join, message, publish, start, stats, subscribe, tokenOf, unread } from "../fixture.mjs";

const server = await start();
after(() => server.dispose());
const strict = await start({ publicTopics: false });
after(() => strict.dispose());

const say = (topic, payload, more = {}) => ({ type: "broadcast", topic, event: "say", payload, ...more });
const codes = (frames) => frames.map(({ type, code }) => code ?? type);

test("what is published to a topic reaches its subscribers only", async () => {
	const [inside, outside] = await Promise.all([join(server, "in"), join(server, "out")]);
	await subscribe(inside, "r", { topic: "room:1" });
	await publish(server, { messages: [message(1, { topic: "room:1" }), insert("t", { id: 2 }, { topic: "room:1" }), message(3, { topic: "room:2" })] });
	assert.deepEqual(await unread(inside), [
		{ type: "broadcast", event: "note", payload: 1, topic: "room:1" },
		{ type: "postgres_changes", table: "t", eventType: "INSERT", schema: "public", new: { id: 2 }, old: null, topic: "room:1" },
	]);
	assert.deepEqual(await unread(outside), []);
	inside.send({ type: "unsubscribe", id: "r" });
	await inside.next();
	await publish(server, message(4, { topic: "room:1" }));
	assert.deepEqual(await unread(inside), []);
	await Promise.all([inside.close(), outside.close()]);
});

test("two subscriptions to one topic do not double it", async () => {
	const client = await join(server, "u");
	await subscribe(client, "a", { topic: "room:1" });
	await subscribe(client, "b", { topic: "room:1" });
	assert.equal((await publish(server, message(1, { topic: "room:1" }))).delivered, 1);
	client.send({ type: "unsubscribe", id: "a" });
	await client.next(({ type }) => type === "unsubscribed");
	assert.equal((await publish(server, message(2, { topic: "room:1" }))).delivered, 1);
	await client.close();
});

test("a client's message reaches everyone in the topic, its sender too, and is acknowledged", async () => {
	const [ann, ben] = await Promise.all([join(server, "ann"), join(server, "ben")]);
	for (const client of [ann, ben]) await subscribe(client, "r", { topic: "room:1" });
	ann.send(say("room:1", { x: 1.0 }, { id: "c9" }));
	const expected = { type: "broadcast", event: "say", payload: { x: 1 }, topic: "room:1" };
	assert.deepEqual(await unread(ann), [expected, { type: "ack", id: "c9" }]);
	assert.deepEqual(await unread(ben), [expected]);
	ann.send(say("room:1", "quiet", { echo: false, id: "c10" }));
	assert.deepEqual(await unread(ann), [{ type: "ack", id: "c10" }]);
	assert.deepEqual((await unread(ben)).map(({ payload }) => payload), ["quiet"]);
	ann.send(say("room:1", "no id"));
	assert.deepEqual(codes(await unread(ann)), ["broadcast"]);
	await Promise.all([ann.close(), ben.close()]);
});

test("who may write need not listen", async () => {
	const [talker, listener] = await Promise.all([join(server, "t"), join(server, "l")]);
	await subscribe(listener, "r", { topic: "room:1" });
	talker.send(say("room:1", 1, { id: "m" }));
	assert.deepEqual(await unread(talker), [{ type: "ack", id: "m" }]);
	assert.equal((await unread(listener)).length, 1);
	await Promise.all([talker.close(), listener.close()]);
});

test("the first channel policy that matches decides, and what none matches is closed", async () => {
	const member = await join(server, "m", ["member"]);
	const admin = await join(server, "a", ["admin"]);
	assert.equal((await subscribe(admin, "r", { topic: "room:1" })).code, "forbidden");
	assert.equal((await subscribe(member, "n", { topic: "news" })).type, "subscribed");
	assert.equal((await subscribe(member, "x", { topic: "elsewhere" })).code, "forbidden");
	member.send(say("news", "mine", { id: "1" }));
	const refusal = await member.next();
	assert.deepEqual([refusal.type, refusal.code, refusal.id], ["error", "forbidden", "1"]);
	admin.send(say("news", "theirs", { id: "2" }));
	assert.deepEqual(await unread(admin), [{ type: "ack", id: "2" }]);
	assert.deepEqual((await unread(member)).map(({ payload }) => payload), ["theirs"]);
	await Promise.all([member.close(), admin.close()]);
});

test("a topic of one's own is nobody else's", async () => {
	const [ann, ben] = await Promise.all([join(server, "ann"), join(server, "ben")]);
	assert.equal((await subscribe(ann, "me", { topic: "user:ann" })).type, "subscribed");
	assert.equal((await subscribe(ben, "her", { topic: "user:ann" })).code, "forbidden");
	assert.equal((await subscribe(ben, "star", { topic: "user:*" })).code, "forbidden");
	ben.send(say("user:ann", 1));
	assert.equal((await ben.next()).code, "forbidden");
	assert.deepEqual(await unread(ann), []);
	await Promise.all([ann.close(), ben.close()]);
});

test("public topics are open to everyone of the organization, and no private ones", async () => {
	const [inside, guest] = await Promise.all([join(server, "in"), join(server, "guest", ["guest"])]);
	await subscribe(inside, "private", { topic: "room:1" });
	assert.equal((await subscribe(guest, "public", { topic: "room:1", private: false })).type, "subscribed");
	await publish(server, { messages: [message("private", { topic: "room:1" }), message("public", { topic: "room:1", private: false })] });
	guest.send(say("room:1", "from a guest", { private: false }));
	const payloads = async (client) => (await unread(client)).map(({ payload }) => payload);
	assert.deepEqual(await payloads(guest), ["public", "from a guest"]);
	assert.deepEqual(await payloads(inside), ["private"]);
	const stranger = await join(server, "s", ["guest"], { organizationId: "org_2" });
	await subscribe(stranger, "public", { topic: "room:1", private: false });
	guest.send(say("room:1", "within", { private: false }));
	await unread(guest);
	assert.deepEqual(await unread(stranger), []);
	await Promise.all([inside.close(), guest.close(), stranger.close()]);
});

test("where public topics are switched off, clients have none", async () => {
	const client = await join(strict, "u");
	assert.equal((await subscribe(client, "s", { topic: "t", private: false })).code, "public_topics_disabled");
	client.send(say("t", 1, { private: false }));
	assert.equal((await client.next()).code, "public_topics_disabled");
	client.send({ type: "presence_track", topic: "t", private: false, metadata: {} });
	assert.equal((await client.next()).code, "public_topics_disabled");
	await client.close();
});

test("roles narrow the audience within a topic", async () => {
	const [member, both] = await Promise.all([join(server, "m"), join(server, "b", ["member", "admin"])]);
	for (const client of [member, both]) await subscribe(client, "r", { topic: "room:1" });
	await publish(server, message(1, { topic: "room:1", targetRoles: ["admin"] }));
	assert.deepEqual([(await unread(member)).length, (await unread(both)).length], [0, 1]);
	await Promise.all([member.close(), both.close()]);
});

test("a topic that a refresh takes away is silent from then on", async () => {
	const client = await join(server, "u");
	await subscribe(client, "r", { topic: "room:1" });
	client.send({ type: "auth", token: tokenOf("u", ["guest"]) });
	assert.deepEqual(codes(await unread(client)), ["auth_success", "forbidden"]);
	await publish(server, message(1, { topic: "room:1" }));
	assert.deepEqual(await unread(client), []);
	assert.equal((await stats(server)).topics, 0);
	await client.close();
});

test("what is wrong with a client's message is told", async () => {
	const client = await join(server, "u");
	const wrong = [
		[{ type: "broadcast", event: "e", payload: 1 }, "invalid_frame"],
		[{ type: "broadcast", topic: "room:1", payload: 1 }, "invalid_frame"],
		[say("room:1", 1, { userId: "ann" }), "invalid_frame"],
		[say("room:1", 1, { targetRoles: [] }), "invalid_frame"],
		[say("x".repeat(256), 1), "name_too_long"],
		[{ ...say("room:1", 1), event: "x".repeat(256) }, "name_too_long"],
		[say("", 1), "invalid_frame"],
	];
	for (const [frame, code] of wrong) {
		client.send(frame);
		assert.equal((await client.next()).code, code);
	}
	await client.close();
});
