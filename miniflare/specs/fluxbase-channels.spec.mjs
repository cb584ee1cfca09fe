/**
 * Fluxbase's clients: broadcasts and presence in channels, together with native clients, and the expiry of a token.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { ACCESS_TOKEN, join, now, start, subscribe, tokenOf, unread } from "../fixture.mjs";
import { FluxbaseChannel } from "../fluxbase.mjs";

const room = { read: { roles: ["member"] }, write: { roles: ["member"] }, presence: { roles: ["member"] } };
const server = await start({
	channels: ["room-*", "presence:*"].map((topic) => ({ topic, ...room })),
	fluxbase: { organization: "org_1" },
});
after(() => server.dispose());

const channel = (name, user, options) => new FluxbaseChannel(server.url, name, { token: tokenOf(user), ...options });

test("a broadcast reaches everyone once, is acknowledged, and known as one's own", async () => {
	const [ann, ben] = [channel("room-1", "ann", { self: true }), channel("room-1", "ben")];
	const native = await join(server, "nat");
	await subscribe(native, "s", { topic: "room-1" });
	await Promise.all([ann.ready(), ben.ready()]);
	assert.equal(await ann.send("cursor-pos", { x: 100 }), "ok");
	await ben.until(() => ben.messages.length === 1);
	assert.deepEqual(ben.messages, [{ event: "cursor-pos", payload: { x: 100 } }]);
	assert.deepEqual(ann.messages, [{ event: "cursor-pos", payload: { x: 100 }, self: true }]);
	const [heard] = await unread(native);
	assert.deepEqual([heard.event, heard.payload], ["cursor-pos", { x: 100 }]);
	const guest = channel("room-1", "gus", { token: tokenOf("gus", ["guest"]) });
	await guest.until(() => guest.frames.some(({ code }) => code === "forbidden"));
	const response = await fetch(`${server.url}/api/v1/realtime/broadcast`, {
		method: "POST",
		headers: { authorization: `Bearer ${ACCESS_TOKEN}`, "content-type": "application/json" },
		body: JSON.stringify({ channel: "room-1", event: "from-rest", payload: 1 }),
	});
	assert.deepEqual(await response.json(), { success: true, channel: "room-1", recipients: 3 });
	await ben.until(() => ben.messages.length === 2);
	await Promise.all([ann, ben, guest, native].map((client) => client.close()));
});

test("presence is told with the whole roster, across the dialects", async () => {
	const [ann, ben] = [channel("presence:room:1", "ann"), channel("presence:room:1", "ben")];
	const native = await join(server, "nat");
	await subscribe(native, "s", { topic: "presence:room:1" });
	await Promise.all([ann.ready(), ben.ready()]);
	ann.track("u-1", { status: "busy" });
	await ben.until(() => ben.presence["u-1"]);
	assert.deepEqual(ben.presence, { "u-1": [{ status: "busy" }] });
	native.send({ type: "presence_track", topic: "presence:room:1", metadata: { status: "here" } });
	await ben.until(() => Object.keys(ben.presence).length === 2);
	const joined = await native.next(({ type, user_id }) => type === "presence_join" && user_id === "nat");
	assert.deepEqual(ben.presence[joined.client_id], [{ status: "here" }], "who gives no key has the connection's id");
	ann.track("u-1", { status: "free" });
	await ben.until(() => ben.presence["u-1"]?.[0].status === "free");
	const update = await native.next(({ type }) => type === "presence_update");
	assert.deepEqual(update.metadata, { status: "free" });
	await ann.close();
	await ben.until(() => !ben.presence["u-1"]);
	await Promise.all([ben, native].map((client) => client.close()));
});

test("administrators are told of connections in every dialect, also after the object slept", async () => {
	const name = "realtime:admin:connections";
	const admin = channel(name, "root", { token: tokenOf("root", ["admin"]) });
	await admin.ready();
	await server.evict("org_1", "hibernate");
	const native = await join(server, "nat");
	await admin.until(() => admin.messages.length === 1);
	await native.close();
	await admin.until(() => admin.messages.length === 2);
	const [came, went] = admin.messages;
	assert.deepEqual([came.event, came.payload.user_id, went.event, went.payload.id], ["connected", "nat", "disconnected", came.payload.id]);
	assert.equal(went.payload.connected_at, came.payload.connected_at);
	const member = channel(name, "ann");
	await member.until(() => member.frames.some(({ error }) => error === "admin access required to subscribe to admin channels"));
	await Promise.all([admin, member].map((client) => client.close()));
});

test("a token that ends takes its socket with it, a fresh one keeps it", async () => {
	const expiring = () => tokenOf("ann", ["member"], { exp: now() + 3 });
	const [lost, kept] = [channel("room-2", "ann", { token: expiring() }), channel("room-2", "ann", { token: expiring() })];
	await Promise.all([lost.ready(), kept.ready()]);
	assert.equal((await kept.setAuth(tokenOf("ann"))).type, "ack");
	await lost.until(() => lost.frames.some(({ code }) => code === "token_expired"));
	await lost.close();
	assert.equal(await kept.send("still", 1), "ok");
	assert.equal(kept.opened, 1);
	await kept.close();
});
