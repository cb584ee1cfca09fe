/** Connecting, authenticating, and being rejected. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { API_KEY, broken, fakeSurroundings, insert, next, ORGANIZATION, publish, record, recordingSocket, startRig, state, token } from "./client-rig.mjs";

const { server, open } = await startRig();

test("the first handler connects, with every handler of the same turn", async (t) => {
	const { WebSocket, sent } = recordingSocket();
	const one = open(t, { WebSocket });
	assert.equal(one.status.state, "idle");
	const [first, second] = [one.on("claims", "*", () => {}), one.on("people", "INSERT", () => {})];
	one.on("people", "INSERT", () => {});
	await Promise.all([first.ready, second.ready]);
	assert.equal(one.status.state, "connected");
	assert.equal(sent.length, 1, "nothing but the auth frame");
	assert.deepEqual(sent[0].subscriptions.map(({ table }) => table), ["-", "claims", "people"]);
	const { epoch, offset } = one.position;
	assert.equal(typeof epoch, "string");
	assert.equal(offset, 0);
});

test("who one is, is what the server has verified", async (t) => {
	const user = open(t, { getToken: () => token({ roles: ["admin", "hr"] }) });
	user.connect();
	await state(user, "connected");
	const identity = { organizationId: ORGANIZATION, userId: "u1", role: "admin", roles: ["admin", "hr"], authMethod: "session" };
	assert.deepEqual(user.identity, identity);
	const machine = open(t, { token: API_KEY });
	machine.connect();
	await state(machine, "connected");
	assert.equal(machine.identity.authMethod, "api_key");
});

test("another organization's token is final", async (t) => {
	const one = open(t, { organizationId: "org_2" });
	one.connect();
	const { error } = await state(one, "closed");
	assert.equal(error.code, "wrong_organization");
});

test("a fixed token that is refused is final; a fetched one is fetched again, but not for ever", async (t) => {
	const fixed = open(t, { token: "nonsense" });
	fixed.connect();
	assert.equal((await state(fixed, "closed")).error.code, "invalid_token");

	const reasons = [];
	const fetched = open(t, { getToken: (reason) => (reasons.push(reason), "nonsense") });
	fetched.connect();
	assert.equal((await state(fetched, "closed")).error.code, "invalid_token");
	assert.deepEqual(reasons, ["connect", "rejected", "rejected", "rejected"]);
});

test("a token that was refused is replaced", async (t) => {
	const one = open(t, { getToken: (reason) => (reason === "rejected" ? token() : "nonsense") });
	one.connect();
	assert.equal((await state(one, "waiting")).error.code, "invalid_token");
	await state(one, "connected");
});

test("getToken may fail for a while", async (t) => {
	let failures = 3;
	const one = open(t, {
		getToken: async () => {
			if (failures-- > 0) throw new Error("the network is down");
			return token();
		},
	});
	one.connect();
	const { error } = await state(one, "waiting");
	assert.equal(error.code, "token_failed");
	assert.equal(error.cause.message, "the network is down");
	await state(one, "connected");
});

test("a malformed filter is refused alone, before and after connecting, and is not asked for again", async (t) => {
	const { WebSocket, sent } = recordingSocket();
	const one = open(t, { WebSocket });
	const errors = record();
	one.on.error(errors.handler);
	const heard = record();
	const good = one.on("claims", "INSERT", heard.handler);
	const bad = one.on("claims", "INSERT", () => assert.fail("not this one"), { filter: "nonsense" });
	await assert.rejects(bad.ready, { code: "invalid_filter" });
	await good.ready;
	const late = one.on("people", "INSERT", () => {}, { filter: "also=nonsense" });
	await assert.rejects(late.ready, { code: "invalid_filter" });
	await publish(server.url, insert("claims", { id: 1 }));
	await heard.count(1);
	assert.deepEqual(errors.all.map(({ target }) => target.filter), ["nonsense", "also=nonsense"]);

	sent.length = 0;
	await broken(one, () => server.evict(ORGANIZATION, "close"));
	await state(one, "connected");
	await publish(server.url, insert("claims", { id: 2 }));
	await heard.count(2);
	assert.deepEqual(sent.map(({ type }) => type), ["auth"]);
	assert.deepEqual(sent[0].subscriptions.map(({ table }) => table), ["-", "claims"]);
});

test("a table that the roles do not receive is refused, and says so", async (t) => {
	const one = open(t);
	const error = next(one.on.error);
	const payroll = one.on("payroll", "*", () => assert.fail("not allowed"));
	await assert.rejects(payroll.ready, { code: "forbidden" });
	assert.equal((await error).target.table, "payroll");
	assert.equal(one.status.state, "connected");
});

test("however many are refused, the connection that follows stands", async (t) => {
	const one = open(t);
	const [errors, states] = [record(), record()];
	one.on.error(errors.handler);
	for (let n = 0; n < 6; n += 1) {
		const secret = one.topic(`secret:${n}`);
		secret.on("*", () => assert.fail("not allowed"));
		secret.presence.on(() => assert.fail("not allowed"));
	}
	await errors.count(12);
	one.on.status(({ state }) => states.handler(state));
	await broken(one, () => server.evict(ORGANIZATION, "close"));
	await errors.count(24);
	await one.on("barrier", "*", () => {}).ready;
	assert.deepEqual(states.all, ["waiting", "connecting", "connected"]);
	assert.deepEqual(new Set(errors.all.map(({ code }) => code)), new Set(["forbidden"]));
});

test("closing keeps the handlers; connecting resumes", async (t) => {
	const one = open(t);
	const heard = record();
	await one.on("claims", "INSERT", heard.handler).ready;
	await publish(server.url, insert("claims", { n: 1 }));
	await heard.count(1);
	one.close();
	assert.deepEqual(one.status, { state: "closed", attempt: 0 });
	one.on("claims", "INSERT", () => {});
	await publish(server.url, insert("claims", { n: 2 }));
	assert.equal(one.status.state, "closed", "a handler does not undo close()");
	one.connect();
	await heard.count(2);
	assert.deepEqual(heard.all.map((change) => change.new.n), [1, 2]);
});

test("a position that was kept resumes in another client", async (t) => {
	const before = open(t);
	await before.on("claims", "INSERT", () => {}).ready;
	const { position } = before;
	before.close();
	await publish(server.url, insert("claims", { n: 3 }));
	const heard = record();
	open(t, { position }).on("claims", "INSERT", heard.handler);
	await heard.count(1);
	assert.equal(heard.all[0].new.n, 3);
});

test("a client is one user's", async (t) => {
	let sub = "u1";
	const surroundings = fakeSurroundings();
	const one = open(t, { getToken: () => token({ sub }), surroundings });
	one.connect();
	await state(one, "connected");
	one.close();
	sub = "u2";
	surroundings.pass(3_600_000);
	one.connect();
	const { error } = await state(one, "closed");
	assert.equal(error.code, "wrong_user");
});

test("what a handler throws is reported, and keeps nothing from the others", async (t) => {
	const one = open(t);
	const heard = record();
	const errors = record();
	one.on.error(errors.handler);
	one.on("claims", "INSERT", () => {
		throw new Error("mine");
	});
	one.on("claims", "INSERT", async () => {
		throw new Error("mine, later");
	});
	await one.on("claims", "INSERT", heard.handler).ready;
	await publish(server.url, insert("claims", {}), insert("claims", {}));
	await heard.count(2);
	await errors.count(4);
	assert.ok(errors.all.every(({ code, cause }) => code === "handler_failed" && /^mine/.test(cause.message)));
});
