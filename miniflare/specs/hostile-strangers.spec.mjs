/**
 * The cost of clients that have not authenticated, share a public key, or are one user with many sockets.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../client.mjs";
import { JWT_SECRET, join, now, post, socketUrl, stats, tokenOf } from "../fixture.mjs";
import { attack, serve } from "../hostile.mjs";
import { signToken } from "../token.mjs";

const server = await serve({ limits: { pending: 60, pendingPerAddress: 20, connections: 100, connectionsPerUser: 20 } });

/** Someone who logs in from a separate address. */
async function late(organizationId, n) {
	const client = await connect(socketUrl(server, { organizationId }), { headers: { "cf-connecting-ip": `198.51.100.${n}` } });
	client.send({ type: "auth", token: tokenOf(`late${n}`, ["member"], { organizationId }), organizationId });
	assert.equal((await client.next()).type, "auth_success");
	return client;
}

const terminate = (clients) => clients.forEach((client) => client.socket.terminate());

test("client REST with a key that everyone has", async (t) => {
	const key = signToken({ role: "anon", organizationId: "rest", exp: now() + 3_600 }, JWT_SECRET);
	const statuses = {};
	const prepare = async () => {
		const messages = Array.from({ length: 100 }, () => ({ topic: "open", event: "e", payload: {} }));
		const send = async () => {
			const response = await post(server, { messages }, { path: "/realtime/v1/api/broadcast", token: key }).catch(() => undefined);
			if (response) statuses[response.status] = (statuses[response.status] ?? 0) + 1;
		};
		return { every: 11, send };
	};
	const published = await attack(t, server, "rest", prepare, { megabytes: 100 });
	assert.deepEqual(Object.keys(statuses).filter((status) => !["202", "429"].includes(status)), [], JSON.stringify(statuses));
	assert.equal((await stats(server, "rest")).history, published, "only what the API said");
});

test("silent strangers of one address, and one user who wants every connection", async (t) => {
	const opened = [];
	const prepare = async (organizationId) => {
		const headers = { "cf-connecting-ip": "192.0.2.7" };
		const hold = async (token) => {
			const client = await connect(socketUrl(server, { organizationId }), { headers }).catch(() => undefined);
			if (!client) return;
			opened.push(client);
			if (token) client.send({ type: "auth", token, organizationId });
		};
		const token = tokenOf("eve", ["member"], { organizationId });
		return { every: 50, send: () => void (hold(), hold(token)) };
	};
	await attack(t, server, "connections", prepare, { megabytes: 150 });
	const honest = await Promise.all(Array.from({ length: 40 }, (_, n) => late("connections", n)));
	const { connections, pending } = await stats(server, "connections");
	assert.ok(pending <= 20, `${pending} strangers of one address`);
	assert.ok(connections - pending <= 20 + honest.length, `${connections} connections`);
	terminate([...opened, ...honest]);
});

test("messages of 31 MB from twenty strangers at once", async () => {
	const organizationId = "large";
	const member = await join(server, "ada", ["member"], { organizationId });
	const strangers = await Promise.all(Array.from({ length: 20 }, () => connect(socketUrl(server, { organizationId }))));
	const before = await stats(server, organizationId);
	const huge = "x".repeat(31_000_000);
	for (const stranger of strangers) stranger.send(huge);
	const endings = await Promise.all(strangers.map((stranger) => stranger.closed));
	assert.deepEqual(new Set(endings.map(({ code }) => code)), new Set([1009]));
	member.send('{"type": "ping"}');
	assert.equal((await member.next()).type, "pong");
	const { wasmMemory, pending } = await stats(server, organizationId);
	assert.equal(pending, 0);
	// None of them was copied: the memory of the Wasm never shrinks.
	assert.ok(wasmMemory - before.wasmMemory < 8_000_000, `${before.wasmMemory} bytes before, ${wasmMemory} after`);
	await member.close();
});
