/** Tokens are replaced before they expire, and after. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeSurroundings, insert, next, publish, record, recordingSocket, startRig, state, token, until } from "./client-rig.mjs";

const rig = await startRig();
const { server } = rig;

/** A token with this many seconds to live, a different one each time. */
let count = 0;
const lasting = (seconds) => token({ exp: Math.floor(Date.now() / 1000) + seconds, jti: `${(count += 1)}` });

function open(t, options) {
	const { WebSocket, sent, received } = recordingSocket();
	const one = rig.open(t, { WebSocket, ...options });
	const auths = () => sent.filter(({ type }) => type === "auth");
	return { one, auths, received };
}

test("a token is replaced a minute before its end, on the connection that stands", async (t) => {
	const surroundings = fakeSurroundings();
	const reasons = [];
	const fetched = record();
	const getToken = (reason) => (reasons.push(reason), fetched.handler(reason), lasting(3600));
	const { one, auths } = open(t, { getToken, surroundings, heartbeat: { interval: 1e9 } });
	const states = record();
	one.on.status(({ state }) => states.handler(state));
	await one.on("claims", "*", () => {}).ready;
	surroundings.pass(3_538_000);
	assert.equal(reasons.length, 1);
	surroundings.pass(3_000);
	await fetched.count(2);
	// The answer has arrived when that of a later frame has.
	await one.on("barrier", "*", () => {}).ready;
	assert.deepEqual(reasons, ["connect", "refresh"]);
	assert.deepEqual(auths().map((frame) => Object.keys(frame)), [["type", "token", "organizationId", "recover", "batch", "subscriptions"], ["type", "token"]]);
	assert.deepEqual(states.all, ["connecting", "connected"]);
});

test("a token that ends all the same is replaced when the server says so", async (t) => {
	const surroundings = fakeSurroundings();
	// With a clock that stands still, the client does not replace it in time.
	let seconds = 4;
	const { one, received } = open(t, { getToken: () => lasting(seconds), surroundings });
	const heard = record();
	await one.on("claims", "INSERT", heard.handler).ready;
	seconds = 3600;
	await until(() => received.some(({ type }) => type === "auth_expired"));
	await until(() => received.filter(({ type }) => type === "auth_success").length === 2);
	assert.equal(one.status.state, "connected");
	await publish(server.url, insert("claims", {}));
	await heard.count(1);
});

test("a token that has ended by the server's clock is not taken from a cache", async (t) => {
	const surroundings = fakeSurroundings();
	let cached;
	const reasons = [];
	const getToken = (reason) => {
		reasons.push(reason);
		if (reason !== "refresh") cached = lasting(reason === "connect" ? 4 : 3600);
		return cached;
	};
	const { one, auths, received } = open(t, { getToken, surroundings });
	one.connect();
	await until(() => received.filter(({ type }) => type === "auth_success").length === 2);
	assert.deepEqual(reasons, ["connect", "rejected"]);
	assert.equal(new Set(auths().map(({ token }) => token)).size, 2);
});

test("a refresh that fails is tried again, and reported", async (t) => {
	const surroundings = fakeSurroundings();
	let failures = 0;
	const getToken = async () => {
		if (failures-- > 0) throw new Error("500");
		return lasting(3600);
	};
	const { one, auths } = open(t, { getToken, surroundings, heartbeat: { interval: 1e9 } });
	one.connect();
	await state(one, "connected");
	failures = 2;
	const errors = record();
	one.on.error(errors.handler);
	surroundings.pass(3_541_000);
	await errors.count(1);
	surroundings.pass(1_000);
	await errors.count(2);
	surroundings.pass(1_000);
	await until(() => auths().length === 2);
	assert.deepEqual(errors.all.map(({ code }) => code), ["token_failed", "token_failed"]);
	assert.equal(one.status.state, "connected");
});

test("a token that is refused at a refresh is replaced, on the connection that stands", async (t) => {
	const surroundings = fakeSurroundings();
	const reasons = record();
	const good = (reason) => reason === "connect" || reasons.all.length === 4;
	const getToken = (reason) => (reasons.handler(reason), good(reason) ? lasting(3600) : "nonsense");
	const { one, auths } = open(t, { getToken, surroundings, heartbeat: { interval: 1e9 } });
	const [errors, states] = [record(), record()];
	one.on.error(errors.handler);
	one.on.status(({ state }) => states.handler(state));
	await one.on("claims", "*", () => {}).ready;
	surroundings.pass(3_541_000);
	for (const round of [1, 2]) {
		await errors.count(round);
		surroundings.pass(1_000);
	}
	await until(() => auths().length === 4);
	await one.on("barrier", "*", () => {}).ready;
	assert.deepEqual(reasons.all, ["connect", "refresh", "rejected", "rejected"]);
	assert.deepEqual(errors.all.map(({ code }) => code), ["invalid_token", "invalid_token"]);
	assert.deepEqual(states.all, ["connecting", "connected"]);
});

test("a refresh that is refused again and again is given up, not the connection", async (t) => {
	const surroundings = fakeSurroundings();
	const reasons = [];
	const getToken = (reason) => (reasons.push(reason), reason === "connect" ? lasting(3600) : "nonsense");
	const { one } = open(t, { getToken, surroundings, heartbeat: { interval: 1e9 } });
	const errors = record();
	one.on.error(errors.handler);
	await one.on("claims", "*", () => {}).ready;
	surroundings.pass(3_541_000);
	for (const round of [1, 2, 3, 4]) {
		await errors.count(round);
		surroundings.pass(60_000);
	}
	await one.on("barrier", "*", () => {}).ready;
	assert.deepEqual(reasons, ["connect", "refresh", "rejected", "rejected", "rejected"]);
	assert.equal(one.status.state, "connected");
});

test("a token is kept for reconnects while it is good", async (t) => {
	const reasons = [];
	const { one, auths } = open(t, { getToken: (reason) => (reasons.push(reason), lasting(3600)) });
	for (let round = 0; round < 3; round += 1) {
		one.connect();
		await state(one, "connected");
		one.close();
	}
	assert.deepEqual(reasons, ["connect"]);
	assert.equal(auths().length, 3);
});

test("a clock that is wrong makes no storm of refreshes", async (t) => {
	const surroundings = fakeSurroundings();
	surroundings.time += 10 * 3_600_000;
	let fetches = 0;
	const { one } = open(t, { getToken: () => ((fetches += 1), lasting(3600)), surroundings });
	one.connect();
	await state(one, "connected");
	surroundings.pass(20_000);
	await one.on("barrier", "*", () => {}).ready;
	assert.equal(fetches, 1);
});

test("changed roles hold from the refresh on", async (t) => {
	const surroundings = fakeSurroundings();
	let roles = ["admin"];
	const getToken = () => token({ roles, jti: `${(count += 1)}` });
	const { one } = open(t, { getToken, surroundings, heartbeat: { interval: 1e9 } });
	await one.on("payroll", "*", () => {}).ready;
	roles = ["member"];
	const refused = next(one.on.error);
	surroundings.pass(3_541_000);
	assert.deepEqual((await refused).target, { table: "payroll", schema: "public", event: "*" });
});

test("roles that grow are known, and what was refused is asked for again", async (t) => {
	const surroundings = fakeSurroundings();
	let roles = ["member"];
	const getToken = () => token({ roles, jti: `${(count += 1)}` });
	const { WebSocket, sent } = recordingSocket();
	const one = rig.open(t, { WebSocket, getToken, surroundings, heartbeat: { interval: 1e9 } });
	const [errors, heard] = [record(), record()];
	one.on.error(errors.handler);
	await assert.rejects(one.on("payroll", "*", heard.handler).ready, { code: "forbidden" });
	await assert.rejects(one.on("claims", "*", () => {}, { filter: "nonsense" }).ready, { code: "invalid_filter" });
	const asked = () => sent.filter(({ type }) => type === "subscribe").map(({ table }) => table);
	sent.length = 0;

	const refreshed = async (wanted) => {
		roles = wanted;
		const before = one.identity;
		surroundings.pass(3_541_000);
		await until(() => one.identity !== before);
		assert.deepEqual(one.identity.roles, wanted);
		await one.on(`barrier_${wanted.length}`, "*", () => {}).ready;
	};
	await refreshed(["member"]);
	assert.deepEqual(asked(), ["barrier_1"], "the same roles are no reason to ask");
	await refreshed(["member", "admin"]);
	assert.equal(one.identity.role, "member");
	await publish(server.url, insert("payroll", { id: "p1" }));
	await heard.count(1);
	assert.deepEqual(asked(), ["barrier_1", "payroll", "barrier_2"]);
	assert.deepEqual(errors.all.map(({ code }) => code), ["forbidden", "invalid_filter"]);
});
