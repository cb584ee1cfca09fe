/**
 * The documented client and publisher, unchanged, against the built Worker.
 */
import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { readFileSync } from "node:fs";
import { after, afterEach, test } from "node:test";
import { EventSource } from "undici";
import { startServer } from "../server.mjs";
import { signToken } from "../token.mjs";

const ORGANIZATION = "org_dev";
const secrets = { ACCESS_TOKEN: "a".repeat(32), JWT_SECRET: "j".repeat(32) };
const server = await startServer({ vars: secrets, onLog: () => {} });
after(() => server.dispose());

/** The module in the code block of a page below the comment `<!-- snippet: name -->`. */
function snippet(name, file = "protocol-native.md") {
	const page = readFileSync(new URL(`../../docs/${file}`, import.meta.url), "utf8");
	const found = page.match(new RegExp(`<!-- snippet: ${name} -->\n\`\`\`js\n(.*?)\n\`\`\``, "s"));
	assert.ok(found, `docs/${file} has no snippet ${name}`);
	return import(`data:text/javascript,${encodeURIComponent(found[1])}`);
}

const { connectRealtime } = await snippet("client");
const { publish } = await snippet("publisher");
const { listen } = await snippet("event-stream", "protocol-event-stream.md");
const env = { REALTIME_URL: server.url, ACCESS_TOKEN: secrets.ACCESS_TOKEN };

const change = (ssn) => ({
	organizationId: ORGANIZATION,
	type: "postgres_changes",
	table: "employees",
	eventType: "INSERT",
	new: { id: "e1", userId: "u7", ssn },
	maskingConfig: { ssn: { type: "ssn", show: { roles: ["admin", "hr"], or: "owner" } } },
});

/** Every socket that the client has opened in this test. */
const sockets = [];
globalThis.WebSocket = class extends WebSocket {
	authenticated = new Promise((resolve) => this.addEventListener("message", resolve, { once: true }));
	constructor(url) {
		super(url);
		sockets.push(this);
	}
};
// The client reconnects for as long as its page is open.
afterEach(() => {
	for (const socket of sockets.splice(0)) {
		socket.onclose = null;
		socket.close();
	}
});

/** Connects a user through the documented client; returns a function that waits for the next event. */
async function watch(user, role) {
	const events = [];
	const arrivals = new EventEmitter();
	const exp = Math.floor(Date.now() / 1000) + 600;
	connectRealtime({
		url: server.url.replace("http", "ws"),
		organizationId: ORGANIZATION,
		getToken: async () => signToken({ sub: user, role, organizationId: ORGANIZATION, exp }, secrets.JWT_SECRET),
		onEvent: (event) => {
			events.push(event);
			arrivals.emit("event");
		},
		onGap: () => assert.fail("nothing was missed"),
	});
	await sockets.at(-1).authenticated;
	return async () => {
		if (events.length === 0) await once(arrivals, "event", { signal: AbortSignal.timeout(30_000) });
		return events.shift();
	};
}

test("the client sees what the publisher publishes, masked for its role", async () => {
	const member = await watch("mel", "member");
	const admin = await watch("ada", "admin");
	const owner = await watch("u7", "member");
	const answer = await publish(env, change("123-45-6789"));
	assert.deepEqual([answer.accepted, answer.duplicate, answer.delivered], [1, false, 3]);
	assert.equal((await member()).new.ssn, "*****6789");
	assert.equal((await admin()).new.ssn, "123-45-6789");
	assert.equal((await owner()).new.ssn, "123-45-6789");
});

test("the client comes back after a drop and gets what it missed", async () => {
	const next = await watch("mel", "member");
	await publish(env, change("123-45-0001"));
	assert.equal((await next()).new.ssn, "*****0001");
	const [first] = sockets;
	first.close();
	await once(first, "close");
	await publish(env, change("123-45-0002"));
	assert.equal((await next()).new.ssn, "*****0002");
	assert.equal(sockets.length, 2);
});

test("the event stream's client, with an EventSource, comes back with another ticket and gets what it missed", async (t) => {
	const frames = [];
	const arrivals = new EventEmitter();
	const opened = [];
	class Watched extends EventSource {
		constructor(url) {
			super(url);
			opened.push(this);
		}
	}
	const exp = Math.floor(Date.now() / 1000) + 600;
	const token = signToken({ sub: "mel", role: "member", organizationId: ORGANIZATION, exp }, secrets.JWT_SECRET);
	const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
	const getTicket = async () => {
		const body = JSON.stringify({ organizationId: ORGANIZATION });
		const answer = await fetch(`${server.url}/realtime/v1/ws-ticket`, { method: "POST", headers, body });
		return (await answer.json()).wsTicket;
	};
	const onFrame = (frame) => {
		frames.push(frame);
		arrivals.emit("frame");
	};
	const stop = listen({ url: server.url, getTicket, onFrame, onGap: () => assert.fail("nothing was missed"), EventSource: Watched });
	t.after(stop);
	const next = async (type) => {
		for (;;) {
			while (frames.length > 0) {
				const frame = frames.shift();
				if (frame.type === type) return frame;
			}
			await once(arrivals, "frame", { signal: AbortSignal.timeout(30_000) });
		}
	};
	await next("auth_success");
	await publish(env, change("123-45-0001"));
	assert.equal((await next("postgres_changes")).new.ssn, "*****0001");
	await server.evict(ORGANIZATION, "close");
	await publish(env, change("123-45-0002"));
	assert.equal((await next("auth_success")).recovered, true);
	assert.equal((await next("postgres_changes")).new.ssn, "*****0002");
	assert.equal(opened.length, 2);
});

test("the publisher says why it was refused", async () => {
	await assert.rejects(publish(env, { organizationId: ORGANIZATION }), /^Error: invalid_request: type is required$/);
	await assert.rejects(publish({ ...env, ACCESS_TOKEN: "wrong" }, change("1")), /^Error: unauthorized: /);
});
