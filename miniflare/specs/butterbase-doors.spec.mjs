/**
 * Butterbase's clients: who is refused after the upgrade, how, and what closes an admitted socket.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { APP, ButterbaseClient, deploy, SERVICE_KEY, userToken } from "../butterbase.mjs";
import { now } from "../fixture.mjs";

const server = await deploy({
	tables: { messages: {} },
	butterbase: {
		tables: ["*"],
		public: ["*"],
		apps: {
			[APP]: {},
			app_small: { access: "public", listeners: 1 },
			app_off: { access: "public", listeners: 0 },
			app_paused: { access: "public", paused: "billing" },
		},
	},
});
after(() => server.dispose());

/** What a refused client receives, and how it is closed. */
async function refused(options) {
	const client = new ButterbaseClient(server, options);
	await client.until(() => client.closes.length > 0);
	await client.close();
	const [{ type, message, code, retry }, { code: close, reason }] = [client.frames[0], client.closes[0]];
	assert.equal(type, "error");
	assert.equal(client.of("connected").length, 0);
	return { message, code, retry, close, reason };
}

test("a refusal comes after the upgrade, as one error and a close with its code and reason", async () => {
	const failed = { message: "Authentication failed", close: 1008, reason: "Auth failed" };
	const cases = [
		[{}, { close: 1008, reason: "Auth required", code: "auth_required", retry: "no" }],
		[{ token: "a.b.c" }, { ...failed, code: "invalid_token" }],
		[{ token: userToken("ann", { app: "app_other" }) }, { ...failed, code: "invalid_token" }],
		[{ token: userToken("ann", { exp: 1 }) }, { ...failed, code: "token_expired", retry: "fresh_token" }],
		[{ app: "app_small", token: SERVICE_KEY }, { message: "App not found", close: 1008, reason: "Auth failed" }],
		[{ app: "app_made_up" }, { message: "App not found", close: 1008, reason: "Auth failed" }],
		[{ app: "app_paused" }, { message: "App is paused: billing", close: 1013, reason: "App paused", code: "app_paused" }],
		[{ app: "app_off" }, { close: 1013, reason: "Realtime disabled by plan", code: "realtime_disabled", retry: "no" }],
	];
	for (const [options, expected] of cases) {
		const told = await refused(options);
		const meant = Object.fromEntries(Object.keys(expected).map((key) => [key, told[key]]));
		assert.deepEqual(meant, expected, JSON.stringify([options, told]));
		assert.ok(told.message.length > 0);
	}
});

test("the plan's listeners are counted, and a place that is left is free", async () => {
	const small = { app: "app_small" };
	const first = await ButterbaseClient.connect(server, small);
	const told = await refused(small);
	assert.deepEqual([told.close, told.reason, told.code], [1013, "Per-app realtime listener limit reached", "listener_limit"]);
	// The SDK reconnects by itself until there is room.
	const second = new ButterbaseClient(server, small);
	await second.until(() => second.closes.length > 0);
	await first.close();
	await second.until(() => second.connected === 1);
	await second.close();
});

test("a token that ends takes its socket with it on time, a fresh one keeps socket and subscriptions", async () => {
	const expiring = () => ({ token: userToken("ann", { exp: now() + 3 }) });
	const [lost, kept] = [await ButterbaseClient.connect(server, expiring()), await ButterbaseClient.connect(server, expiring())];
	await kept.subscribe("messages");
	const renewed = await kept.ask({ type: "auth", token: userToken("ann") }, "connected");
	assert.equal(renewed.role, "butterbase_user");
	await lost.until(() => lost.of("error").length > 0);
	assert.deepEqual(lost.of("error")[0].code, "token_expired");
	// workerd ends the connection of a socket that an alarm has closed only when the object hibernates.
	await server.evict(APP, "hibernate");
	await lost.until(() => lost.closes.length > 0);
	assert.deepEqual(lost.closes[0], { code: 1008, reason: "Auth failed" });
	await kept.settled();
	assert.deepEqual(kept.closes, []);
	const other = await kept.ask({ type: "auth", token: userToken("ben") }, "error");
	assert.equal(other.message, "Authentication failed", "a socket is of one user");
	await Promise.all([lost.close(), kept.close()]);
});

test("what is no frame is refused in the contract's words, and too much of it ends the socket", async () => {
	const client = await ButterbaseClient.connect(server, { token: userToken("ann") });
	const texts = [
		[{ type: "subscribe" }, "Missing \"table\" field"],
		[{ type: "event" }, "Missing \"event\" field"],
		[{ type: "event", event: "none" }, "No handler for event: none"],
		[{ type: "dance" }, "Unknown message type: dance"],
	];
	for (const [frame, message] of texts) {
		assert.equal((await client.ask(frame, "error")).message, message);
		await client.settled();
	}
	for (let count = 0; count < 8; count += 1) client.send({ type: "dance" });
	await client.until(() => client.closes.length > 0);
	assert.deepEqual(client.closes[0], { code: 1008, reason: "too_many_errors" });
	await client.close();
});
