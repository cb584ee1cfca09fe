/** Nothing fails silently: `ready` rejects, and one console line, or `on.error`, says why and what helps. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { insert, next, publish, record, startRig, startWire, state, token, until, within } from "./client-rig.mjs";

const { server, open } = await startRig();

/** What is written to the console while a test runs. */
function consoleOf(t) {
	const lines = record();
	t.mock.method(console, "error", (...parts) => lines.handler(parts));
	return lines;
}

const FAILURES = {
	"a bad token": [{ token: "nonsense" }, "invalid_token", /JWT_SECRET/],
	"a wrong organization": [{ organizationId: "org_2" }, "wrong_organization", /organizationId/],
	"a forgotten organization": [{ organizationId: undefined }, "invalid_organization", /organizationId/],
	"a failing getToken": [{ getToken: () => Promise.reject(new Error("status 500")) }, "token_failed", /status 500.*getToken/],
	"a token that is none": [{ getToken: async () => ({ token: "x" }) }, "token_failed", /a string/],
	"an old Node": [{ WebSocket: null }, "no_websocket", /Node 22/],
};
for (const [name, [options, code, line]] of Object.entries(FAILURES)) {
	test(`${name} is told once on the console, with what helps, and rejects ready`, async (t) => {
		const lines = consoleOf(t);
		const one = open(t, options);
		await assert.rejects(within(one.on("claims", "*", () => {}).ready, "ready is pending"), { code });
		await until(() => lines.all.length > 0 && (one.status.state === "closed" || one.status.attempt > 2));
		assert.equal(lines.all.length, 1, JSON.stringify(lines.all));
		assert.equal(lines.all[0].length, 1);
		assert.match(lines.all[0][0], line);
		assert.doesNotMatch(lines.all[0][0], /\n/);
	});

	test(`${name} goes to on.error instead, where there is a handler`, async (t) => {
		const lines = consoleOf(t);
		const one = open(t, options);
		const error = next(one.on.error);
		one.connect();
		assert.equal((await error).code, code);
		assert.deepEqual(lines.all, []);
	});
}

test("an address that is none is told, by createClient's ready", async (t) => {
	const lines = consoleOf(t);
	const { createClient } = await import("../src/client/index.ts");
	for (const url of ["localhost:8787", "/realtime", "ftp://example.com", "https://"]) {
		const one = createClient(url, { organizationId: "org_1", token: "token" });
		await assert.rejects(within(one.on("claims", "*", () => {}).ready, "ready is pending"), { code: "invalid_url" });
		assert.equal(one.status.state, "closed");
	}
	assert.equal(lines.all.length, 4);
	assert.match(lines.all[0][0], /localhost:8787.*https:\/\/realtime/);
});

test("a dead server is told once, and ready is another promise once it lives", async (t) => {
	const lines = consoleOf(t);
	const wire = await startWire(server.url);
	t.after(wire.close);
	const { port } = wire;
	wire.port = 1;
	const { createClient } = await import("../src/client/index.ts");
	const one = createClient(wire.url, { organizationId: "org_1", getToken: () => token(), backoff: { base: 5, max: 20 } });
	t.after(() => one.close());
	const heard = record();
	const subscription = one.on("claims", "*", heard.handler);
	await assert.rejects(within(subscription.ready, "ready is pending"), { code: "disconnected" });
	await until(() => one.status.attempt > 3);
	assert.equal(lines.all.length, 1);
	assert.match(lines.all[0][0], /Is the Worker running/);
	wire.port = port;
	await state(one, "connected");
	await subscription.ready;
	await publish(server.url, insert("claims", { id: 1 }));
	await heard.count(1);
	wire.cut();
	await state(one, "connected");
	assert.equal(lines.all.length, 1, "a connection that comes back is no failure");
});

test("close() settles ready, and so does a handler that is added after it", async (t) => {
	const one = open(t);
	const { ready } = one.on("claims", "*", () => {});
	one.close();
	await assert.rejects(within(ready, "ready is pending"), { code: "closed" });
	const late = one.on("people", "*", () => {});
	await assert.rejects(within(late.ready, "ready is pending"), { code: "closed" });
	one.connect();
	await state(one, "connected");
	await late.ready;
});

test("a malformed position is told, and taken for none", async (t) => {
	const lines = consoleOf(t);
	for (const position of [{ epoch: 1, offset: 0 }, { epoch: "x", offset: "7" }, "12", { epoch: "x", offset: -1 }]) {
		await open(t, { position }).on("claims", "*", () => {}).ready;
	}
	assert.deepEqual(lines.all.map(([line]) => /invalid_position/.test(line)), [true, true, true, true]);
	await open(t, { position: null }).on("claims", "*", () => {}).ready;
	assert.equal(lines.all.length, 4);
});

test("who one is and where one stands is known when connected is told", async (t) => {
	const one = open(t);
	const known = next((handler) => one.on.status(({ state }) => state === "connected" && handler([one.identity, one.position])));
	one.connect();
	const [identity, position] = await known;
	assert.equal(identity.userId, "u1");
	assert.equal(typeof position.epoch, "string");
});
