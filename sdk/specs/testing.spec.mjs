/**
 * The test server is equivalent to the Worker for an application: one script on both gives the same to every client.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "realtime-worker/client";
import { createRealtime, defineTable, realtimeVariable } from "realtime-worker/server";
import { createTestServer } from "realtime-worker/testing";
import { ACCESS_TOKEN, start, tokenOf } from "../../miniflare/fixture.mjs";

const tables = {
	claims: defineTable({
		requiredRoles: ["member", "admin"],
		rows: [{ roles: ["admin"] }, { column: "team", claim: "teams" }, { column: "userId", claim: "sub" }],
		masking: { ssn: { type: "ssn", show: { roles: ["admin"], or: "owner" } } },
	}),
	"hr.people": defineTable({ fields: ["id", "name"], onDelete: false }),
};
const channels = [
	{ topic: "room:*", read: {}, write: { roles: ["member"] }, presence: {} },
	{ topic: "user:{sub}", read: {}, write: {} },
	{ topic: "kept:*", read: { roles: ["admin"] }, write: {}, history: true },
];
const people = { ada: ["admin"], mel: ["member"], gus: ["guest"] };
const claimsOf = (user) => (user === "mel" ? { teams: ["red"] } : {});

/** The script's environment: clients, what each has received, and the publisher. */
function stage(url, optionsOf, env) {
	const heard = {};
	const clients = {};
	for (const user of Object.keys(people)) {
		const client = createClient(url, optionsOf(user));
		const hear = (what) => heard[user].push(what);
		heard[user] = [];
		clients[user] = client;
		client.on("claims", "*", ({ eventType, new: now, old }) => hear([eventType, now, old]));
		client.on("hr.people", "INSERT", ({ schema, new: now }) => hear([schema, now]), { filter: 'name=in.(Grace,"A, B")' });
		client.on("*", "DELETE", ({ table, old }) => hear(["any", table, old]));
		client.on.broadcast("*", ({ event, payload }) => hear([event, payload]));
		client.on.error(({ code }) => hear(code));
	}
	return { heard, clients, realtime: createRealtime(env, { tables }) };
}

/** The script. `arrived` resolves when everything sent has reached everyone. */
async function play({ heard, clients: { ada, mel, gus }, realtime }, arrived) {
	const rooms = [ada, mel, gus].map((client) => client.topic("room:1"));
	const hear = (user) => ({ event, payload }) => heard[user].push(["room", event, payload]);
	await Promise.all(rooms.map((room, index) => room.on("*", hear(Object.keys(people)[index])).ready));
	await ada.topic("kept:1").on("*", hear("ada")).ready;
	await mel.topic("user:mel").on("*", hear("mel")).ready;
	const refusals = [gus.topic("user:mel").on("*", () => {}), gus.topic("kept:1").on("*", () => {}), gus.topic("none").on("*", () => {})];
	for (const { ready } of refusals) heard.gus.push(await ready.then(() => "entered", ({ code }) => code));

	const claim = { id: "c1", team: "red", userId: "zoe", ssn: "123-45-6789" };
	await realtime.insert("claims", claim, "org_1", { id: "once" });
	await realtime.insert("claims", claim, "org_1", { id: "once" });
	await realtime.update("claims", { ...claim, team: "blue" }, claim, "org_1");
	await realtime.update("claims", { ...claim, team: "red" }, { ...claim, team: "blue" }, "org_1");
	await realtime.update("claims", { ...claim, userId: "mel" }, null, "org_1");
	await realtime.delete("claims", claim, "org_1", { maskingConfig: { id: { type: "redact" } }, targetRoles: ["member"] });
	for (const name of ["Grace", "A, B", "Alan"]) await realtime.insert("hr.people", { id: 1, name, salary: 1 }, "org_1");
	await realtime.delete("hr.people", { id: 1 }, "org_1");
	await realtime.batch("org_1", (batch) => {
		batch.broadcast("masked", { ssn: "123-45-6789", deep: [{ phone: "12345" }] }, { maskingConfig: { ssn: { type: "ssn", show: { roles: ["admin"] } }, "deep.phone": { type: "phone" } } });
		batch.broadcast("list", [{ ssn: 1 }, 2], { maskingConfig: { ssn: { type: "redact" } } });
		batch.broadcast("private", 1, { userId: "mel" });
		batch.broadcast("room", { x: 1 }, { topic: "room:1" });
		batch.broadcast("elsewhere", 1, { topic: "room:1", private: false });
	});
	await rooms[1].send("said", { y: 1 }, { echo: false });
	heard.gus.push(await rooms[2].send("said", 1).then(() => "said", ({ code }) => code));
	await gus.topic("kept:1").send("kept", 1);
	for (const [index, room] of rooms.entries()) {
		const list = (members) => members.map(({ user_id, metadata }) => `${user_id}:${metadata.n}`).sort().join();
		const there = new Promise((resolve) => room.presence.on((members) => list(members) === ["ada:1", "ada:1,mel:1", "ada:1,gus:1,mel:1"][index] && resolve()));
		room.presence.track({ n: 1 });
		await there;
	}
	await arrived();
}

/** Everything published before it has arrived when it has. */
async function fence({ clients, realtime }) {
	const all = Object.values(clients).map((client) => new Promise((resolve) => client.on.broadcast("fence", resolve)));
	await realtime.broadcast("fence", null, "org_1");
	await Promise.all(all);
}

test("one script gives the same to everyone, over the Worker and over the test server", async (context) => {
	const worker = await start(realtimeVariable({ tables, channels }));
	context.after(() => worker.dispose());
	const real = stage(worker.url, (user) => ({ organizationId: "org_1", token: tokenOf(user, people[user], claimsOf(user)) }), { REALTIME_URL: worker.url, ACCESS_TOKEN });
	const memory = createTestServer({ tables, channels });
	const tested = stage(memory.url, (user) => memory.as({ userId: user, organizationId: "org_1", roles: people[user], claims: claimsOf(user) }), memory.env);
	for (const stage of [real, tested]) {
		context.after(() => Object.values(stage.clients).forEach((client) => client.close()));
		await play(stage, () => fence(stage));
	}
	assert.deepEqual(tested.heard, real.heard);
	assert.deepEqual(Object.values(real.heard).map(({ length }) => length), [12, 14, 15]);
	assert.equal(memory.published.length, 14);
});

test("a client that was cut off resumes, and hears what it missed once", async (context) => {
	const server = createTestServer();
	const client = createClient(server.url, server.as({ userId: "ada" }));
	context.after(() => client.close());
	const seen = [];
	const gaps = [];
	client.on.gap((gap) => gaps.push(gap));
	await client.on("claims", "*", ({ new: row }) => seen.push(row.id)).ready;
	const realtime = createRealtime(server.env);
	await realtime.insert("claims", { id: 1 }, "org_test");
	await server.settled();
	server.disconnect();
	await realtime.insert("claims", { id: 2 }, "org_test");
	const again = new Promise((resolve) => client.on.status(({ state }) => state === "connected" && resolve()));
	await again;
	const receipt = await realtime.insert("claims", { id: 3 }, "org_test");
	await client.caughtUp(receipt);
	assert.deepEqual([seen, gaps], [[1, 2, 3], []]);
});

test("strangers are refused, and so is a filter that only the Worker can judge", async (context) => {
	const server = createTestServer();
	const refused = async (options, act) => {
		const client = createClient(server.url, { ...server.as({}), ...options });
		context.after(() => client.close());
		return new Promise((resolve) => {
			client.on.error(({ code }) => resolve(code));
			act(client);
		});
	};
	assert.equal(await refused({ token: "a stranger's" }, (client) => client.connect()), "invalid_token");
	assert.equal(await refused({ organizationId: "org_2" }, (client) => client.connect()), "wrong_organization");
	assert.equal(await refused({}, (client) => client.on("claims", "*", () => {}, { filter: "title=like.a%" })), "invalid_filter");
});
