/** Dead connections, close codes, backoff, the network and the page: on a fake socket, and on a real connection. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { retryOf } from "../src/client/error.ts";
import { browser } from "../src/client/index.ts";
import { client, fakeSurroundings, insert, next, publish, record, startRig, startWire, state } from "./client-rig.mjs";

const { server } = await startRig();

/** A client on scripted sockets; all pending promises have run when `turn` resolves. */
function scripted(t, options = {}, url = "https://example.com") {
	const sockets = [];
	class Fake {
		sent = [];
		constructor(url) {
			this.url = url;
			sockets.push(this);
		}
		send(text) {
			this.sent.push(JSON.parse(text));
		}
		close() {
			this.isClosed = true;
		}
		say(frame) {
			this.onmessage?.({ data: JSON.stringify(frame) });
		}
		accept() {
			this.onopen();
			this.say({ type: "auth_success", organizationId: "org_1", userId: "u1", role: null, roles: [], authMethod: "session", epoch: "e", offset: 0 });
		}
		end(code, reason = "") {
			this.onclose?.({ code, reason });
		}
	}
	const surroundings = fakeSurroundings();
	const one = client(url, { WebSocket: Fake, surroundings, backoff: { base: 1000, max: 30_000 }, ...options });
	t.after(() => one.close());
	return { one, sockets, surroundings };
}

const turn = () => new Promise(setImmediate);

test("the address is the Worker's, below what stands before its routes, with the organization in it", async (t) => {
	const route = "/realtime/v1/websocket?organizationId=org_1";
	for (const [given, address] of [
		["https://example.com", `wss://example.com${route}`],
		["http://example.com/", `ws://example.com${route}`],
		["https://example.com/rt", `wss://example.com/rt${route}`],
		["https://example.com/rt//", `wss://example.com/rt${route}`],
		[new URL("wss://example.com/realtime/v1/websocket"), `wss://example.com${route}`],
		["https://example.com/rt/realtime/v1/websocket/", `wss://example.com/rt${route}`],
		["https://example.com/rt?ws_ticket=t", `wss://example.com/rt${route.replace("?", "?ws_ticket=t&")}`],
	]) {
		const { one, sockets } = scripted(t, {}, given);
		one.connect();
		await turn();
		assert.equal(sockets[0].url, address);
	}
});

test("every close code of the Worker has its retry rule here", async () => {
	const source = await readFile(new URL("../../src/code.rs", import.meta.url), "utf8");
	const rules = { Later: "later", FreshToken: "token", No: "no" };
	const rows = [...source.matchAll(/^\t? *\w+ "(\w+)" \d+ (\d+) (\w+) "/gm)];
	assert.ok(rows.length >= 9);
	for (const [, code, , retry] of rows) assert.equal(retryOf(code), rules[retry], code);
});

test("each close is worth another attempt, unless the Worker says that it is not", async (t) => {
	for (const [code, reason, expected] of [
		[1000, "", "waiting"], [1001, "", "waiting"], [1006, "", "waiting"], [1009, "", "waiting"], [1011, "internal", "waiting"],
		[1012, "service_restart", "waiting"], [1013, "connection_limit", "waiting"], [1008, "too_many_errors", "waiting"],
		[1008, "", "waiting"], [1008, "token_expired", "waiting"], [1008, "wrong_organization", "closed"], [1008, "auth_required", "closed"],
	]) {
		const { one, sockets } = scripted(t);
		one.connect();
		await turn();
		sockets[0].accept();
		sockets[0].end(code, reason);
		assert.equal(one.status.state, expected, `${code} ${reason}`);
		assert.equal(one.status.error.code, reason || "disconnected");
	}
});

test("waits double up to the longest, are spread by chance, and begin anew after a good connection", async (t) => {
	const { one, sockets, surroundings } = scripted(t);
	const waits = [];
	one.on.status(({ state, retryAt }) => state === "waiting" && waits.push(retryAt - surroundings.time));
	one.connect();
	for (let round = 0; round < 7; round += 1) {
		await turn();
		sockets.at(-1).end(1006);
		surroundings.pass(waits.at(-1));
	}
	assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
	await turn();
	// A connection that ends at once is not good.
	sockets.at(-1).accept();
	sockets.at(-1).end(1006);
	assert.equal(waits.at(-1), 30_000);
	surroundings.pass(30_000);
	await turn();
	sockets.at(-1).accept();
	surroundings.pass(6_000);
	surroundings.random = () => 0.25;
	sockets.at(-1).end(1006);
	assert.equal(waits.at(-1), 250);
	surroundings.random = () => 1;
	surroundings.pass(250);
	await turn();
	sockets.at(-1).end(1013, "connection_limit");
	assert.equal(waits.at(-1), 8000, "a server that is full is given more time");
});

test("an attempt that hangs is given up; what it still says is not heard", async (t) => {
	const { one, sockets, surroundings } = scripted(t);
	one.connect();
	await turn();
	const [hanging] = sockets;
	surroundings.pass(15_000);
	assert.equal(one.status.error.code, "timeout");
	assert.ok(hanging.isClosed);
	surroundings.pass(30_000);
	await turn();
	hanging.say({ type: "auth_error", code: "wrong_organization", message: "" });
	hanging.end(1008, "wrong_organization");
	sockets[1].accept();
	assert.equal(one.status.state, "connected");
});

test("silence is asked about, and a link that does not answer is left", async (t) => {
	const { one, sockets, surroundings } = scripted(t);
	one.connect();
	await turn();
	const [socket] = sockets;
	socket.accept();
	const pings = () => socket.sent.filter(({ type }) => type === "ping").length;
	surroundings.pass(20_000);
	socket.say({ type: "subscribed", id: "x" });
	surroundings.pass(20_000);
	assert.equal(pings(), 0, "there was no silence");
	surroundings.pass(5_000);
	assert.equal(pings(), 1);
	socket.say({ type: "pong" });
	surroundings.pass(25_000);
	assert.equal(pings(), 2);
	assert.equal(one.status.state, "connected");
	surroundings.pass(8_000);
	assert.equal(one.status.state, "waiting");
	assert.equal(one.status.error.code, "dead_link");
	assert.ok(socket.isClosed);
});

test("a page that becomes visible, or a device that comes online, does not wait", async (t) => {
	for (const news of ["visible", "online"]) {
		const { one, sockets, surroundings } = scripted(t);
		one.connect();
		await turn();
		sockets[0].end(1006);
		assert.equal(one.status.state, "waiting");
		surroundings.tell(news);
		await turn();
		assert.equal(sockets.length, 2);
		sockets[1].accept();
		surroundings.tell(news);
		assert.equal(sockets[1].sent.at(-1).type, "ping", "a link that stands is asked at once");
		surroundings.pass(8_000);
		assert.equal(one.status.error.code, "dead_link");
	}
});

test("offline, a link is asked, and attempts are few until the network is back", async (t) => {
	const { one, sockets, surroundings } = scripted(t);
	one.connect();
	await turn();
	sockets[0].accept();
	surroundings.tell("offline");
	surroundings.pass(8_000);
	assert.equal(one.status.retryAt - surroundings.time, 30_000);
	surroundings.pass(30_000);
	await turn();
	assert.equal(sockets.length, 2, "the browser may be wrong");
	surroundings.tell("online");
	await turn();
	assert.equal(sockets.length, 3, "an attempt from before may hang");
	sockets[2].accept();
	assert.equal(one.status.state, "connected");
});

test("closing ends timers, watchers and the socket, at any moment", async (t) => {
	for (const moment of ["connecting", "connected", "waiting"]) {
		const { one, sockets, surroundings } = scripted(t);
		one.on.status(({ state }) => state === moment && one.close());
		one.connect();
		await turn();
		if (moment !== "connecting") sockets[0].accept();
		if (moment === "waiting") sockets[0].end(1006);
		assert.equal(one.status.state, "closed", moment);
		assert.equal(surroundings.timers.size, 0, moment);
		surroundings.tell("online");
		surroundings.pass(100_000);
		await turn();
		assert.equal(one.status.state, "closed");
		assert.ok(sockets.length === 0 || moment === "waiting" || sockets[0].isClosed);
	}
});

test("a handler that waits for its confirmation when the connection ends is due from then on", async (t) => {
	const { one, sockets, surroundings } = scripted(t);
	one.on("claims", "*", () => {});
	await turn();
	await turn();
	sockets[0].accept();
	sockets[0].end(1006);
	surroundings.pass(30_000);
	await turn();
	sockets[1].onopen();
	assert.deepEqual(sockets[1].sent[0].subscriptions.map(({ table }) => table), ["-", "claims"]);
	assert.deepEqual(sockets[1].sent[0].recover, { epoch: "e", offset: 0 });
});

test("what comes twice is handled once", async (t) => {
	const { one, sockets } = scripted(t);
	const heard = record();
	one.on.broadcast("x", ({ payload }) => heard.handler(payload));
	await turn();
	await turn();
	sockets[0].accept();
	for (const [payload, offset] of [["a", 1], ["b", 2], ["a", 1], ["not stored", 2], ["c", 3]]) {
		sockets[0].say({ type: "broadcast", event: "x", payload, offset });
	}
	assert.deepEqual(heard.all, ["a", "b", "not stored", "c"]);
});

test("a wire that stops passing anything on is noticed, and nothing is lost", async (t) => {
	const wire = await startWire(server.url);
	t.after(() => wire.close());
	// It pings when the page becomes visible, so that a slow connection is not considered dead too early.
	let becomeVisible;
	const watch = (tell) => ((becomeVisible = () => tell("visible")), () => {});
	const one = client(wire.url, { heartbeat: { timeout: 200 }, surroundings: { ...browser(), watch } });
	t.after(() => one.close());
	const heard = record();
	await one.on("claims", "INSERT", heard.handler).ready;
	wire.freeze();
	await publish(server.url, insert("claims", { n: 1 }));
	const lost = next(one.on.status, ({ state }) => state === "waiting");
	becomeVisible();
	const { error } = await lost;
	assert.equal(error.code, "dead_link");
	wire.thaw();
	await heard.count(1);
	await state(one, "connected");
	assert.equal(heard.all.length, 1);
});
